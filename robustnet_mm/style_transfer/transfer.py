"""How a content takes on a style: adaptive instance normalisation, or cross-attention."""

import torch.nn.functional as F
from torch import Tensor, nn

from robustnet_mm.models.grids import map_to_tokens, tokens_to_map

from .readers import resize

EPS = 1e-5
Statistics = tuple[Tensor, Tensor]  # mean and deviation of each channel, (N, C, 1, 1) each


def statistics(feat: Tensor) -> Statistics:
    """Mean and standard deviation of each channel: (N, C, H, W) -> twice (N, C, 1, 1).

    The deviation is that of the population, and `EPS` is added to the variance, so that the root
    has a gradient where a channel is constant.
    """
    mean = feat.mean((2, 3), keepdim=True)
    variance = (feat - mean).square().mean((2, 3), keepdim=True)
    return mean, (variance + EPS).sqrt()


def normalize(feat: Tensor, whole: Statistics | None = None) -> Tensor:
    """Each channel with mean 0 and deviation 1; `whole` is of what `feat` is a piece of."""
    mean, std = statistics(feat) if whole is None else whole
    return (feat - mean) / std


def adain(content: Tensor, style: Tensor, whole: Statistics | None = None) -> Tensor:
    """The content with the style's statistics (Huang and Belongie 2017, equation 8).

    (N, C, h, w), (N, C, H, W) -> (N, C, h, w); `whole` is of what the content is a piece of.
    """
    mean, std = statistics(style)
    return normalize(content, whole) * std + mean


class AdaINTransfer(nn.Module):
    """`adain` as a module; it learns nothing."""

    def forward(self, content: Tensor, style: Tensor, whole: Statistics | None = None) -> Tensor:
        """(N, C, h, w), (N, C, H, W) -> (N, C, h, w)"""
        return adain(content, style, whole)


class CrossAttention(nn.Module):
    """Each token of the content takes a mean of the style's values: (N, L, C), (N, S, C)."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        split = [
            x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for x in (self.query(query), self.key(key), self.value(value))
        ]  # (N, heads, L or S, C / heads)
        mixed = F.scaled_dot_product_attention(*split)
        return self.out(mixed.transpose(1, 2).flatten(2))


class TransferLayer(nn.Module):
    """Cross-attention and an MLP, each added to what stands there (norms before).

    Both end in a linear layer that starts at zero, so at the start nothing is added.
    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.norm_content, self.norm_style, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.attention = CrossAttention(width, num_heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        for last in (self.attention.out, self.mlp[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, content: Tensor, positions: Tensor, style: Tensor) -> Tensor:
        key = self.norm_style(style)
        query = self.norm_content(content) + positions
        content = content + self.attention(query, key, style)
        return content + self.mlp(self.norm_mlp(content))


class AttentionTransfer(nn.Module):
    """Three layers of cross-attention: the content asks, the style answers (StyTr2, section 3.3).

    They start from `adain` of both, and at the start are that exactly: what a style looks like on
    the whole is copied for any style, and where its parts belong is learned.

    Where a content token stands is told by what is around it: positions are made from an 18 x 18
    pooling of the content itself (content-aware positional encoding, section 3.1), so that they
    serve any size.

    Args:
        width: Channels C of both maps, a multiple of 32.
        num_layers: Of cross-attention.

    Each head has 32 channels.
    """

    def __init__(self, width: int, num_layers: int = 3):
        super().__init__()
        num_heads = width // 32
        self.pooled = 18
        self.position = nn.Conv2d(width, width, 1)
        self.layers = nn.ModuleList(TransferLayer(width, num_heads) for _ in range(num_layers))

    def forward(self, content: Tensor, style: Tensor, whole: Statistics | None = None) -> Tensor:
        """(N, C, h, w), (N, C, H, W) -> (N, C, h, w); `whole` as in `adain`"""
        grid = tuple(content.shape[-2:])
        around = self.position(F.adaptive_avg_pool2d(content, self.pooled))
        positions = map_to_tokens(resize(around, grid))
        tokens, style = map_to_tokens(adain(content, style, whole)), map_to_tokens(style)
        for layer in self.layers:
            tokens = layer(tokens, positions, style)
        return tokens_to_map(tokens, grid)


TRANSFERS = {"attention": AttentionTransfer, "adain": lambda width: AdaINTransfer()}
