"""How good a stylised picture is, under a network that is named."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.evaluator import BaseMetric

from robustnet_mm.arguments import check_text
from robustnet_mm.registry import METRICS, MODELS

from .losses import PerceptualLoss
from .pixels import to_unit


@METRICS.register_module()
class StyleMetric(BaseMetric):
    """Content and style loss of the predictions, means over the pairs.

    Args:
        name: Of the network, in the names of the metrics: '<name>/content', '<name>/style'. Figures
            under different networks, layers or preprocessings cannot be compared.
        loss: Config of a `PerceptualLoss`.
        collect_device: As in mmengine.
        prefix: As in mmengine; `name` by default.

    It also gives '<name>/content_itself_style', the style loss of the content as it is: what a
    picture that took on nothing would have.
    """

    def __init__(
        self, name: str, loss: Mapping, collect_device: str = "cpu", prefix: str | None = None
    ):
        check_text("name", name, "'vgg16'")
        super().__init__(collect_device, prefix or name)
        self.loss: PerceptualLoss = MODELS.build(loss)

    @torch.no_grad()
    def process(self, data_batch: Mapping, data_samples: Sequence[Mapping]) -> None:
        """Keep the losses of each pair of a batch."""
        inputs = data_batch["inputs"]
        pairs = zip(inputs["content"], inputs["style"], data_samples, strict=True)
        for content, style, sample in pairs:  # the inputs are as they were loaded, on the CPU
            painted = sample["picture"]
            seen = [
                self.loss.features(to_unit(picture.to(painted.device)))
                for picture in (painted, content.flip(0), style.flip(0))
            ]
            of_result, of_content, of_style = seen
            self.results.append(
                dict(
                    content=self.loss.content(of_result, of_content, of_style).item(),
                    style=self.loss.style(of_result, of_style).item(),
                    content_itself_style=self.loss.style(of_content, of_style).item(),
                )
            )

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """The means."""
        return {name: sum(pair[name] for pair in results) / len(results) for name in results[0]}
