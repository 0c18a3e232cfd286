"""How good a stylised picture is, under a network that is named."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.evaluator import BaseMetric

from robustnet_mm.arguments import check_choice, check_flag, check_text
from robustnet_mm.registry import METRICS, MODELS

from .losses import PerceptualLoss
from .pixels import to_unit

LPIPS = ("alex", "vgg", "squeeze")


@METRICS.register_module()
class StyleMetric(BaseMetric):
    """Content and style loss of the predictions, means over the pairs.

    Args:
        name: Of the network, in the names of the metrics: '<name>/content', '<name>/style'. Figures
            under different networks, layers or preprocessings cannot be compared.
        loss: Config of a `PerceptualLoss`.
        ssim: Whether '<name>/ssim' says how much of the content's structure is kept, 1 for all of
            it (torchmetrics).
        lpips: 'alex', 'vgg' or 'squeeze' for '<name>/lpips', how far the picture is from its
            content as that network of torchvision sees it, whose weights are downloaded
            (torchmetrics).
        collect_device: As in mmengine.
        prefix: As in mmengine; `name` by default.

    Two more say what a picture that took on nothing would have: '<name>/content_itself_style', the
    style loss of the content as it is, and '<name>/ahead', the share of the pairs whose picture is
    ahead of it.

    Raises:
        ValueError: An unknown network of LPIPS, or one whose weights are not at hand.
        ImportError: No torchmetrics, where it is needed.
    """

    def __init__(
        self,
        name: str,
        loss: Mapping,
        ssim: bool = False,
        lpips: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ):
        check_text("name", name, "'vgg16'")
        check_flag("ssim", ssim)
        super().__init__(collect_device, prefix or name)
        self.loss: PerceptualLoss = MODELS.build(loss)
        self.distances = {}
        if ssim:
            self.distances["ssim"] = _ssim()
        if lpips is not None:
            check_choice("lpips", lpips, LPIPS)
            self.distances["lpips"] = _lpips(lpips)

    @torch.no_grad()
    def process(self, data_batch: Mapping, data_samples: Sequence[Mapping]) -> None:
        """Keep the losses of each pair of a batch; what pairs share is looked at once."""
        inputs, seen = data_batch["inputs"], {}
        pairs = zip(inputs["content"], inputs["style"], data_samples, strict=True)
        for content, style, sample in pairs:  # the inputs are as they were loaded, on the CPU
            painted = to_unit(sample["picture"])
            units = []
            for picture in (content, style):
                if id(picture) not in seen:
                    unit = to_unit(picture.flip(0).to(painted.device))
                    seen[id(picture)] = unit, self.loss.features(unit)
                units.append(seen[id(picture)])
            (content, of_content), (_, of_style) = units
            of_painted = self.loss.features(painted)
            style, itself = (self.loss.style(f, of_style).item() for f in (of_painted, of_content))
            self.results.append(
                dict(
                    content=self.loss.content(of_painted, of_content, of_style).item(),
                    style=style,
                    content_itself_style=itself,
                    ahead=float(style < itself),
                )
                | {name: float(f(painted, content)) for name, f in self.distances.items()}
            )

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """The means."""
        return {name: sum(pair[name] for pair in results) / len(results) for name in results[0]}


def _torchmetrics():
    try:
        import torchmetrics.functional.image
        import torchmetrics.image.lpip
    except ImportError as error:
        raise ImportError(
            "ssim and lpips of StyleMetric need torchmetrics: pip install 'robustnet-mm[style]'"
        ) from error
    return torchmetrics


def _ssim():
    similarity = _torchmetrics().functional.image.structural_similarity_index_measure
    return lambda painted, content: similarity(painted, content, data_range=1.0)


def _lpips(net_type: str):
    module = _torchmetrics().image.lpip.LearnedPerceptualImagePatchSimilarity
    try:
        network = module(net_type, normalize=True).eval()
    except OSError as error:
        raise ValueError(
            f"lpips={net_type!r} needs torchvision's ImageNet weights of that network, which could "
            f"not be downloaded ({error}): put their file into {torch.hub.get_dir()}/checkpoints, "
            "or leave lpips out"
        ) from error
    return lambda painted, content: network.to(painted.device)(painted, content)
