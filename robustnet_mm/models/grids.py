"""Maps and tokens: how one is laid out as the other, at any size."""

import torch
import torch.nn.functional as F
from torch import Tensor


def tokens_to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patch tokens as a map, prefix tokens left out: (N, P + h*w, D) -> (N, D, h, w), a view."""
    return tokens[:, -grid[0] * grid[1] :].transpose(1, 2).unflatten(2, grid)


def patch_tokens(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patch tokens, prefix tokens left out: (N, P + h*w, D) -> (N, h*w, D), a view"""
    return map_to_tokens(tokens_to_map(tokens, grid))  # by way of the grid an export knows its size


def map_to_tokens(feat: Tensor) -> Tensor:
    """(N, D, h, w) -> (N, h*w, D), a view"""
    return feat.flatten(2).transpose(1, 2)


def pool_to_grid(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean of the map in each token's cell: (N, C, H, W) -> (N, C, h, w).

    A plain average pooling where the grid divides the map, an adaptive one where it does not
    (patch 14, odd sizes) or where the map is coarser than the grid. Where the image is no whole
    number of patches, the cells are those of the image, not of the padded image: an approximation
    that shifts a cell by less than a patch.
    """
    (height, width), (h, w) = x.shape[-2:], grid
    if torch.compiler.is_exporting():  # any size in one graph, without a question that fixes it
        columns = _averages(width, w, x).transpose(0, 1)
        return _averages(height, h, x) @ x @ columns
    if (height, width) == (h, w):
        return x
    if height % h == 0 and width % w == 0:
        return F.avg_pool2d(x, (height // h, width // w))
    return F.adaptive_avg_pool2d(x, grid)


def _averages(length: int, cells: int, like: Tensor) -> Tensor:
    """Adaptive average pooling of a side as a matrix: (cells, length), whose rows sum to one."""
    cell = torch.arange(cells, device=like.device)[:, None]
    starts, ends = cell * length // cells, ((cell + 1) * length + cells - 1) // cells
    place = torch.arange(length, device=like.device)
    inside = ((place >= starts) & (place < ends)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def add_guide(x: Tensor, guide: Tensor | None) -> Tensor:
    """Add what the ViT says: (N, C, H, W) + nearest resize of (N, C, h, w)."""
    if guide is None:
        return x
    guide, (height, width), (h, w) = guide.to(x.dtype), x.shape[-2:], guide.shape[-2:]
    if torch.compiler.is_exporting() or height % h or width % w:
        return x + F.interpolate(guide, size=(height, width), mode="nearest")
    rows = guide.repeat_interleave(width // w, dim=3)  # each row is then added to all it covers
    return (x.unflatten(2, (h, height // h)) + rows[:, :, :, None]).flatten(2, 3)
