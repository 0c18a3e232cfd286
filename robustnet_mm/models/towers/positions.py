"""What transformer blocks need to know beside the tokens: positions, windows, and the padding.

Tables of rotary positions are (L, C), or (depth, heads, L, C) where each block has its own; where
the images of a batch have their own grids, (N, 1, L, C) or (depth, N, heads, L, C).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .windows import Windows


class Positions(NamedTuple):
    """Made once for a batch, and read by every block."""

    grid: tuple[int, int]
    table: Tensor | None = None  # of rotary positions, or the bias that BEiT's blocks share
    mask: Tensor | None = None  # (N, 1, 1, P + h*w), True where a token is real; None: everywhere
    windows: Windows | None = None
    window_table: Tensor | None = None  # (..., N * windows, heads, s*t, C)
    window_mask: Tensor | None = None  # (N * windows, 1, 1, P + s*t)
    window_share: Tensor | None = None  # (N, windows, 1, 1), what its prefix tokens count


def lay_out(patches: Tensor, own: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Patches of an image at the top left of the batch's grid: (..., h'*w', D) -> (..., h*w, D)."""
    patches = patches.unflatten(-2, own)
    return F.pad(patches, (0, 0, 0, grid[1] - own[1], 0, grid[0] - own[0])).flatten(-3, -2)


def real_patches(owns: list[tuple[int, int]], grid: tuple[int, int], device) -> Tensor:
    """True where a patch belongs to the image: (N, h*w)."""
    masks = {
        own: lay_out(torch.ones(own[0] * own[1], 1, dtype=torch.bool, device=device), own, grid)
        for own in set(owns)
    }
    return torch.stack([masks[own] for own in owns])[..., 0]


def of_each_image(table: Tensor, num_images: int) -> Tensor:
    """(L, C) -> (N, 1, L, C), or (depth, heads, L, C) -> (depth, N, heads, L, C), as views."""
    if table.ndim == 2:
        return table.expand(num_images, 1, -1, -1)
    return table[:, None].expand(-1, num_images, -1, -1, -1)


def cut_positions(
    windows: Windows, table: Tensor | None, real: Tensor | None, num_images: int, device
) -> dict:
    """What the blocks read within windows.

    Args:
        windows: How the grid is cut.
        table: Rotary positions of each image: (..., N, heads, h*w, C).
        real: (N, h*w), True where a patch belongs to its image; None: everywhere.
        num_images: N.
        device: Where the masks are made.
    """
    window_table = mask = share = None
    if table is not None:
        cut = windows.cut(table.flatten(0, -3)).unflatten(0, table.shape[:-2])
        window_table = cut.transpose(-4, -3).flatten(-5, -4)  # windows before heads
    if real is not None or windows.pads:
        if real is None:
            real = torch.ones(num_images, windows.grid[0] * windows.grid[1], device=device).bool()
        mask = windows.cut(real[..., None])[..., 0]  # (N, windows, s*t)
        used = mask.any(-1, keepdim=True)
        share = (used / used.sum(1, keepdim=True))[..., None]
        mask = mask | ~used  # before torch 2.5 a query without any key gives NaN
        mask = F.pad(mask.flatten(0, 1)[:, None, None], (windows.num_prefix, 0), value=True)
    return dict(windows=windows, window_table=window_table, window_mask=mask, window_share=share)
