"""Images: what may come in, and each tower's own normalisation."""

from collections.abc import Mapping
from math import isclose

import torch
from torch import Tensor, nn

from robustnet_mm.arguments import as_tuple, is_number

# RGB, in pixel values 0 .. 255: what the hosts' data preprocessors do by default
IMAGENET_NORM = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


class Renormalize(nn.Module):
    """From the data preprocessor's normalisation to that of a tower's weights.

    Args:
        data_norm: `dict(mean=..., std=...)` of three pixel values each, as the preprocessor did.
        input_norm: The same, as the weights were trained with.
    """

    def __init__(self, data_norm: dict, input_norm: dict):
        super().__init__()
        data_mean, data_std = _three_values("data_norm", data_norm)
        mean, std = _three_values("input_norm", input_norm)
        pairs = list(zip(data_mean + data_std, mean + std, strict=True))
        self.same = all(isclose(a, b, abs_tol=1e-2) for a, b in pairs)
        scale = [a / b for a, b in zip(data_std, std, strict=True)]
        shift = [(a - b) / c for a, b, c in zip(data_mean, mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> the same shape; the images themselves where both agree.

        Raises:
            ValueError: No tensor, no images, other channels than three, pixels as whole numbers,
                or double precision.
        """
        _check_images(images, self.scale.dtype)
        return images if self.same else images * self.scale + self.shift


def _check_images(images: Tensor, dtype: torch.dtype):
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images must be one tensor (N, 3, height, width), got a {type(images).__name__}: let "
            "the data preprocessor pad them to one size, or call torch.stack(images)"
        )
    if 0 in images.shape:
        raise ValueError(
            f"images must be a batch (N, 3, height, width) of one image or more, got none in "
            f"{tuple(images.shape)}: leave empty batches out before the network is called"
        )
    doubled = images.dtype == torch.float64 != dtype
    if images.ndim != 4 or images.size(1) != 3 or not images.is_floating_point() or doubled:
        raise ValueError(
            f"images must be (N, 3, height, width) {dtype}, RGB and normalised, got "
            f"{tuple(images.shape)} {images.dtype}: let the data preprocessor make them, or call "
            "images.float() and, where there is one channel, images.expand(-1, 3, -1, -1)"
        )


def _three_values(name: str, norm: dict) -> tuple[list[float], list[float]]:
    given = norm if isinstance(norm, Mapping) else {}
    mean, std = (as_tuple(given.get(key)) or () for key in ("mean", "std"))
    numbers = all(is_number(value) for value in mean + std)
    if len(mean) == len(std) == 3 and numbers and min(std) > 0:
        return [float(value) for value in mean], [float(value) for value in std]
    raise ValueError(
        f"{name} must be dict(mean=three pixel values, std=three above 0), in 0..255, got {norm!r}"
    )
