"""What a style transfer is given: checked, and in the form that it is used in."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from robustnet_mm.arguments import is_number

from .networks import PICTURES


def for_pictures(backbone: Mapping) -> dict:
    """The config of a backbone that reads pictures in 0..1."""
    towers = [backbone.get(name) or {} for name in ("cnn", "vit")]
    for given in (each.get("data_norm") for each in (backbone, *towers)):
        if given is not None and {k: tuple(map(float, v)) for k, v in given.items()} != PICTURES:
            raise ValueError(
                "backbone.data_norm must be dict(mean=[0, 0, 0], std=[255, 255, 255]), for "
                f"pictures in 0..1, got {dict(given)}: leave it out, or set it so"
            )
    return dict(backbone, data_norm=PICTURES)


def shares_of(shares: Sequence[float] | None, number: int) -> list[float]:
    """How much of each of so many styles, in all 1."""
    if not number:
        raise ValueError("styles must hold one style at least, got none")
    shares = [1.0] * number if shares is None else list(shares)
    wrong = len(shares) != number or not all(is_number(share) and share >= 0 for share in shares)
    if wrong or not sum(shares) > 0:
        raise ValueError(
            f"shares must be {number} numbers from 0 on, one for each style and one above 0, got "
            f"{shares}"
        )
    return [share / sum(shares) for share in shares]


def batch_of(pictures: Sequence[Tensor], name: str) -> Tensor:
    """(3, H, W) each -> (N, 3, H, W)"""
    if len({picture.shape for picture in pictures}) > 1:
        sizes = sorted({tuple(picture.shape[-2:]) for picture in pictures})
        raise ValueError(
            f"{name}s of one batch must have one size, got {sizes}: set crop of ContentStyleDataset"
        )
    return torch.stack(list(pictures))
