"""The numbers of `significance` over a dataset with masks."""

import math
from collections.abc import Mapping, Sequence

from mmengine.evaluator import BaseMetric

from robustnet_mm.arguments import check_wholes
from robustnet_mm.registry import METRICS

from .masks import foreground_of, patch_shares
from .significance import significance


@METRICS.register_module()
class SignificanceMetric(BaseMetric):
    """How much attention means, of an `AttentionProbe`: means over the images.

    Beside each number stand `<name>_uniform`, that of attention to all patches alike,
    `<name>_random`, that of the same attention and a random mask, where there is one, and
    `<name>_interval`, half the width of the mean's 95 % interval over the images.

    Args:
        foreground: Classes that are foreground; None: all objects. Label maps need them.
        collect_device: As in mmengine.
        prefix: As in mmengine.
    """

    default_prefix = "significance"

    def __init__(
        self,
        foreground: Sequence[int] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ):
        from robustnet_mm.intervals import half_width  # extra `analysis`

        super().__init__(collect_device, prefix)
        self._half_width = half_width
        if foreground is not None:
            foreground = list(check_wholes("foreground", tuple(foreground), 0))
        self.foreground = foreground

    def process(self, data_batch: Mapping, data_samples: Sequence[Mapping]) -> None:
        """Keep the numbers of each image."""
        for found in data_samples:
            sample, attention = found["sample"], found["attention"]
            masks = (mask.cpu() for mask in foreground_of(sample, self.foreground))
            size = tuple(sample.img_shape[:2])
            shares = patch_shares(*masks, size, attention.grid, attention.patch_size)
            self.results.append(significance(attention, *shares))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The means of the images in which a number has a meaning."""
        means = {}
        for name in results[0]:
            columns = zip(*(numbers[name] for numbers in results), strict=True)
            for field, values in zip(("", "_uniform", "_random"), columns, strict=True):
                real = [value for value in values if not math.isnan(value)]
                if real:
                    means[name + field] = sum(real) / len(real)
                if len(real) > 1 and not field:
                    means[f"{name}_interval"] = self._half_width(real)
        return means
