"""A batch that knows how large its images were before they were padded."""

from collections.abc import Sequence

import torch
from torch import Tensor

Sizes = Sequence[tuple[int, int]]


class SizedImages(Tensor):
    """Images (N, 3, H, W), padded at the bottom and at the right, and their own sizes.

    What hosts pass on to a backbone is one tensor, so the sizes come with it. Whatever is computed
    from it is a plain tensor, without sizes that might not be true any more.

    Attributes:
        image_sizes: ((height, width), ...) of the N images before padding.
    """

    image_sizes: tuple[tuple[int, int], ...]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def of(images: Tensor, sizes: Sizes) -> "SizedImages":
        sized = images.as_subclass(SizedImages)
        sized.image_sizes = tuple((int(height), int(width)) for height, width in sizes)
        return sized


def own_sizes(images: Tensor, sizes: Sizes | None = None) -> tuple[Tensor, Sizes | None]:
    """A plain tensor, and the sizes that were given or that come with the images; None: unknown."""
    if isinstance(images, SizedImages):
        sizes = images.image_sizes if sizes is None else sizes
        images = images.as_subclass(Tensor)
    return images, sizes
