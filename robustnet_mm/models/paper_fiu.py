"""The paper's own Feature Interaction Unit: projection, norm, activation (section 4).

It disturbs both pretrained networks from the first step on. With a zero gate behind it the start
is exact, but the gate and the random projection wait for each other; see `fiu`.
"""

import torch
from torch import Tensor, nn

from .grids import map_to_tokens, pool_to_grid, tokens_to_map


class Gate(nn.Module):
    """A scale per channel, zero at start: (..., C, ...) -> same shape.

    Args:
        channels: C.
        dim: The channel dimension: 1 for maps, -1 for tokens.
    """

    def __init__(self, channels: int, dim: int):
        super().__init__()
        self.dim = dim
        self.scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.scale.to(x.dtype)
        return x * (scale if self.dim == -1 else scale[:, None, None])


class GatedLinear(nn.Linear):
    """A linear layer with random weights behind a zero gate: (..., C) -> (..., D)."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features)
        self.gate = Gate(out_features, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(super().forward(x))


class PaperSqueeze(nn.Module):
    """Map to tokens: (N, Cd, H, W) -> (N, h*w, D).

    The paper convolves (1x1) and then pools. Both are linear, so pooling first gives the same at a
    fraction of the work (1/16 at stride 4 under patch 16). On tokens, a 1x1 convolution is a
    linear layer.
    """

    def __init__(self, in_channels: int, embed_dims: int, gated: bool):
        super().__init__()
        self.proj = nn.Linear(in_channels, embed_dims)
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.act = nn.GELU()
        self.gate = Gate(embed_dims, dim=-1) if gated else nn.Identity()

    def forward(self, detail: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        x = map_to_tokens(pool_to_grid(detail, grid))  # (N, Cd, H, W) -> (N, h*w, Cd)
        x = x.contiguous()  # or torch multiplies, and adds the bias in a pass of its own
        return self.gate(self.act(self.norm(self.proj(x))))


class PaperExpand(nn.Module):
    """Tokens to map: (N, P + h*w, D) -> (N, Cd, h, w); prefix tokens are left out."""

    def __init__(self, embed_dims: int, out_channels: int, gated: bool):
        super().__init__()
        self.proj = nn.Linear(embed_dims, out_channels)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-6)
        self.act = nn.ReLU()
        self.gate = Gate(out_channels, dim=1) if gated else nn.Identity()

    def forward(self, tokens: Tensor, detail: Tensor, grid: tuple[int, int]) -> Tensor:
        x = tokens_to_map(self.proj(tokens), grid)  # projected first: a slice would be copied
        return self.gate(self.act(self.norm(x)))
