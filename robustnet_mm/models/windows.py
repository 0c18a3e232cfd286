"""Attention within windows: whole transformer blocks run on windows of the grid, all at once.

(N, P + h*w, D) -> (N * windows, P + s*s, D) -> (N, P + h*w, D). Each window has its own copy of the
prefix tokens, which are averaged afterwards. A grid that is no whole number of windows is padded at
its end, and the padding is masked as keys, so that no real token sees it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """How a grid is cut into windows of `size` x `size` patches.

    Args:
        grid: (h, w) of the patch tokens.
        size: Side of a window in patches.
        num_prefix: P, class and register tokens.
    """

    grid: tuple[int, int]
    size: int
    num_prefix: int

    @property
    def counts(self) -> tuple[int, int]:
        """Windows in a column and in a row."""
        return -(-self.grid[0] // self.size), -(-self.grid[1] // self.size)

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns of padding at the end."""
        return tuple(n * self.size - side for n, side in zip(self.counts, self.grid, strict=True))

    def cut(self, patches: Tensor) -> Tensor:
        """(N, h*w, D) -> (N, windows, s*s, D), zeros as padding."""
        (rows, columns), size = self.counts, self.size
        x = patches.unflatten(1, self.grid)
        if any(self.padding):
            x = F.pad(x, (0, 0, 0, self.padding[1], 0, self.padding[0]))
        x = x.unflatten(2, (columns, size)).unflatten(1, (rows, size))  # (N, r, s, c, s, D)
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def partition(self, tokens: Tensor) -> Tensor:
        """(N, P + h*w, D) -> (N * windows, P + s*s, D)"""
        prefix, patches = tokens[:, : self.num_prefix], self.cut(tokens[:, self.num_prefix :])
        prefix = prefix[:, None].expand(-1, patches.size(1), -1, -1)
        return torch.cat([prefix, patches], dim=2).flatten(0, 1)

    def merge(self, tokens: Tensor) -> Tensor:
        """(N * windows, P + s*s, D) -> (N, P + h*w, D)"""
        (rows, columns), size = self.counts, self.size
        x = tokens.unflatten(0, (-1, rows * columns))
        prefix, patches = x[:, :, : self.num_prefix].mean(1), x[:, :, self.num_prefix :]
        patches = patches.unflatten(2, (size, size)).unflatten(1, (rows, columns))
        patches = patches.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (N, r*s, c*s, D)
        patches = patches[:, : self.grid[0], : self.grid[1]].flatten(1, 2)
        return torch.cat([prefix, patches], dim=1)

    def key_mask(self, device: torch.device) -> Tensor | None:
        """True where a key is real: (windows, 1, 1, P + s*s), or None without padding."""
        if not any(self.padding):
            return None
        real = torch.ones(1, self.grid[0] * self.grid[1], 1, dtype=torch.bool, device=device)
        mask = self.cut(real)[0, :, None, None, :, 0]
        return F.pad(mask, (self.num_prefix, 0), value=True)
