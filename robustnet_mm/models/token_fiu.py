"""An exchange by way of visual tokens, in place of pooling to the grid: an ablation of `fiu`.

Each side sums its map up in L tokens, by filters that are learned, and the other side's pixels or
patches read them by attention (tokenizer and projector of Wu et al. 2021, see `visual_tokens`). It
ends in a linear layer that starts at zero.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from .grids import map_to_tokens, patch_tokens, tokens_to_map
from .zero_linear import ZeroLinear

NUM_TOKENS = 16
_KEY_CHANNELS = 64


class _Reading(nn.Module):
    """Readers (N, R, Cr) take what they ask for of a map's tokens: -> (N, R, C)"""

    def __init__(self, in_channels: int, reader_channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)
        self.filters = nn.Linear(in_channels, NUM_TOKENS, bias=False)
        self.key = nn.Linear(in_channels, _KEY_CHANNELS, bias=False)
        self.reader_norm = nn.LayerNorm(reader_channels, eps=1e-6)
        self.query = nn.Linear(reader_channels, _KEY_CHANNELS, bias=False)

    def forward(self, pixels: Tensor, readers: Tensor) -> Tensor:
        """(N, M, C), (N, R, Cr) -> (N, R, C)"""
        pixels = self.norm(pixels)
        tokens = self.filters(pixels).softmax(1).transpose(1, 2) @ pixels  # (N, L, C)
        query, key = self.query(self.reader_norm(readers)), self.key(tokens)
        read = F.scaled_dot_product_attention(query[:, None], key[:, None], tokens[:, None])
        return read.squeeze(1)


class TokenSqueeze(nn.Module):
    """Patches read the map: detail (N, Cd, H, W), tokens (N, P + h*w, D) -> (N, h*w, D)."""

    def __init__(self, in_channels: int, embed_dims: int):
        super().__init__()
        self.reading = _Reading(in_channels, embed_dims)
        self.linear = ZeroLinear(in_channels, embed_dims)

    def forward(self, detail: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return self.linear(self.reading(map_to_tokens(detail), patch_tokens(tokens, grid)))


class TokenExpand(nn.Module):
    """The map's pixels read the patches.

    Tokens (N, P + h*w, D), detail (N, Cd, H, W) -> (N, Cg, H, W).
    """

    def __init__(self, embed_dims: int, detail_channels: int, out_channels: int):
        super().__init__()
        self.reading = _Reading(embed_dims, detail_channels)
        self.linear = ZeroLinear(embed_dims, out_channels)

    def forward(self, tokens: Tensor, detail: Tensor, grid: tuple[int, int]) -> Tensor:
        read = self.reading(patch_tokens(tokens, grid), map_to_tokens(detail))
        return tokens_to_map(self.linear(read), tuple(detail.shape[-2:]))
