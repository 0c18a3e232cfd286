"""Attention within windows: whole transformer blocks run on windows of the grid, all at once.

(N, P + h*w, D) -> (N * windows, P + s*t, D) -> (N, P + h*w, D). Each window has its own copy of the
prefix tokens, which are averaged afterwards. A grid that is no whole number of windows is padded at
its end, and the padding is masked as keys, so that no real token sees it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def count(length: int, part: int) -> int:
    """Parts that cover a length, the last perhaps not full; also of lengths that an export leaves
    open, for which `math.ceil` has no meaning and `-(-length // part)` another in ONNX.
    """
    return (length + part - 1) // part


@dataclass(frozen=True)
class Windows:
    """How a grid is cut into windows, all of the same size.

    Args:
        grid: (h, w) of the patch tokens.
        most: Largest side of a window in patches. Windows are as few as that allows, and no larger
            than so many need to be, which keeps the padding small.
        num_prefix: P, class and register tokens.
    """

    grid: tuple[int, int]
    most: int
    num_prefix: int

    @property
    def counts(self) -> tuple[int, int]:
        """Windows in a column and in a row."""
        return count(self.grid[0], self.most), count(self.grid[1], self.most)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a window in patches."""
        (h, w), (rows, columns) = self.grid, self.counts
        return count(h, rows), count(w, columns)

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns of padding at the end."""
        sides = zip(self.counts, self.size, self.grid, strict=True)
        return tuple(count * size - side for count, size, side in sides)

    @property
    def pads(self) -> bool:
        """Whether there is padding; an export has it always, so that one graph fits any grid."""
        return torch.compiler.is_exporting() or any(self.padding)

    def cut(self, patches: Tensor) -> Tensor:
        """(N, h*w, D) -> (N, windows, s*t, D), zeros as padding."""
        (rows, columns), size = self.counts, self.size
        x = patches.unflatten(1, self.grid)
        if self.pads:
            x = F.pad(x, (0, 0, 0, self.padding[1], 0, self.padding[0]))
        x = x.unflatten(2, (columns, size[1])).unflatten(1, (rows, size[0]))  # (N, r, s, c, t, D)
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def partition(self, tokens: Tensor) -> Tensor:
        """(N, P + h*w, D) -> (N * windows, P + s*t, D)"""
        prefix, patches = tokens[:, : self.num_prefix], self.cut(tokens[:, self.num_prefix :])
        prefix = prefix[:, None].expand(-1, patches.size(1), -1, -1)
        return torch.cat([prefix, patches], dim=2).flatten(0, 1)

    def merge(self, tokens: Tensor, share: Tensor | None = None) -> Tensor:
        """(N * windows, P + s*t, D) -> (N, P + h*w, D)

        Args:
            tokens: What the blocks made.
            share: (N, windows, 1, 1), what each window counts in the mean of the prefix tokens.
        """
        (rows, columns), size = self.counts, self.size
        x = tokens.unflatten(0, (-1, rows * columns))
        prefix, patches = x[:, :, : self.num_prefix], x[:, :, self.num_prefix :]
        prefix = prefix.mean(1) if share is None else (prefix * share.to(x.dtype)).sum(1)
        patches = patches.unflatten(2, size).unflatten(1, (rows, columns))
        patches = patches.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (N, r*s, c*t, D)
        patches = patches[:, : self.grid[0], : self.grid[1]].flatten(1, 2)
        return torch.cat([prefix, patches], dim=1)
