"""BEiT at any image size: its tables of relative positions, resized to the grid."""

import torch
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from timm.models import beit
from torch import Tensor


class AnyGridAttention(beit.Attention):
    """BEiT's attention, its table of relative positions resized to the grid of the image.

    The grid comes with each call, beside the bias that the blocks share, so that a recomputation
    in the backward pass sees that of its own image.
    """

    grid: tuple[int, int]

    def forward(self, x: Tensor, shared_rel_pos_bias: tuple) -> Tensor:
        self.grid, shared = shared_rel_pos_bias
        return super().forward(x, shared)

    def _get_rel_pos_bias(self) -> Tensor:
        old = tuple(self.window_size)
        if self.grid == old:
            return super()._get_rel_pos_bias()
        return resized_bias(self.relative_position_bias_table, old, self.grid)[None]


def resized_bias(table: Tensor, old: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Table of relative positions on one grid -> (heads, 1 + h*w, 1 + h*w) on another."""
    shape = ((2 * grid[0] - 1) * (2 * grid[1] - 1) + 3, table.size(1))
    table = resize_rel_pos_bias_table(table, grid, shape, old)
    index = beit.gen_relative_position_index(grid, device=table.device)
    return table[index].permute(2, 0, 1).contiguous()  # (1 + h*w, 1 + h*w, heads) -> heads first


def enter_beit(model: beit.Beit, patches: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(N, h*w, D) -> (N, 1 + h*w, D), and the bias that all blocks share, or None."""
    tokens = torch.cat((model.cls_token.expand(patches.size(0), -1, -1), patches), dim=1)
    if model.pos_embed is not None:
        old = model.patch_embed.grid_size
        tokens = tokens + resample_abs_pos_embed(model.pos_embed, grid, old)
    shared = model.rel_pos_bias
    if shared is None or grid == tuple(shared.window_size):
        return model.pos_drop(tokens), shared and shared()
    old = tuple(shared.window_size)
    return model.pos_drop(tokens), resized_bias(shared.relative_position_bias_table, old, grid)
