"""Visual tokens: a map becomes L tokens, and tokens come back to the map (Wu et al. 2021).

"Visual Transformers: Where Do Transformers Really Belong in Vision Models?", ICCV 2021, section 3.
X stands for the pixels of a map, (N, H*W, C), T for tokens, (N, L, D). The paper's products of
queries and keys are divided by the root of their width, as in any transformer; tokens are normed
before they attend and before the perceptron. Both keep a training from scratch steady.
"""

from abc import abstractmethod
from math import isqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustnet_mm.arguments import check_choice, check_whole
from robustnet_mm.models.grids import map_to_tokens


class Tokenized(NamedTuple):
    """What a tokenizer gives."""

    tokens: Tensor  # (N, L, D)
    attention: Tensor | None  # (N, L, H, W), each token's weights of the pixels; sums to one


class Tokenizer(nn.Module):
    """A map as L tokens: `T = A^T X W_V`, A = softmax over the pixels of scores (equation 1).

    Args:
        in_channels: Channels C of the map.
        num_tokens: L.
        token_channels: Token width D. W_V is there where it differs from C.
    """

    def __init__(self, in_channels: int, num_tokens: int, token_channels: int):
        super().__init__()
        check_whole("num_tokens", num_tokens, 1)
        check_whole("token_channels", token_channels, 1)
        self.num_tokens = num_tokens
        same = in_channels == token_channels
        self.value = nn.Identity() if same else nn.Linear(in_channels, token_channels, bias=False)

    def forward(self, feat: Tensor, previous: Tensor | None = None) -> Tokenized:
        """(N, C, H, W), and the tokens (N, L, D) of the module before -> `Tokenized`

        Raises:
            ValueError: The map has fewer pixels than there are tokens.
        """
        height, width = feat.shape[-2:]
        if height * width < self.num_tokens:
            raise ValueError(
                f"num_tokens must be at most the pixels of the map, {height} x {width}, got "
                f"{self.num_tokens}: take fewer tokens or larger images"
            )
        pixels = map_to_tokens(feat)
        attention = self.scores(pixels, previous).softmax(1).transpose(1, 2)
        tokens = self.value(attention @ pixels)
        return Tokenized(tokens, attention.unflatten(2, (height, width)))

    @abstractmethod
    def scores(self, pixels: Tensor, previous: Tensor | None) -> Tensor:
        """X (N, H*W, C), T (N, L, D) -> (N, H*W, L)"""


class FilterTokenizer(Tokenizer):
    """Scores are `X W_A`, filters that are learned once for all images (equation 1)."""

    def __init__(self, in_channels: int, num_tokens: int, token_channels: int):
        super().__init__(in_channels, num_tokens, token_channels)
        self.filters = nn.Linear(in_channels, num_tokens, bias=False)

    def scores(self, pixels, previous):
        return self.filters(pixels)


class RecurrentTokenizer(Tokenizer):
    """Scores are `X (T W)^T`: the tokens of the module before say what to look for (equation 2)."""

    def __init__(self, in_channels: int, num_tokens: int, token_channels: int):
        super().__init__(in_channels, num_tokens, token_channels)
        self.norm = nn.LayerNorm(token_channels)
        self.filters = nn.Linear(token_channels, in_channels, bias=False)

    def scores(self, pixels, previous):
        if previous is None:
            raise ValueError("RecurrentTokenizer needs the tokens of the module before, got None")
        filters = self.filters(self.norm(previous)) * pixels.size(2) ** -0.5
        return pixels @ filters.transpose(1, 2)


class ClusterTokenizer(Tokenizer):
    """Scores are `X M^T`, M the centres of L clusters of the pixels (the paper's appendix C).

    K-means starts from pixels at even distances, and takes three steps; it learns nothing.
    """

    steps = 3

    def scores(self, pixels, previous):
        centres = self._centres(pixels) * pixels.size(2) ** -0.5
        return pixels @ centres.transpose(1, 2)

    @torch.no_grad()
    def _centres(self, pixels: Tensor) -> Tensor:
        """(N, H*W, C) -> (N, L, C)"""
        places = torch.linspace(0, pixels.size(1) - 1, self.num_tokens, device=pixels.device)
        centres = pixels[:, places.long()]
        for _ in range(self.steps):
            nearest = torch.cdist(pixels.float(), centres.float()).argmin(2)
            members = F.one_hot(nearest, self.num_tokens).to(pixels.dtype)  # (N, H*W, L)
            counts = members.sum(1).unsqueeze(2)
            means = members.transpose(1, 2) @ pixels / counts.clamp_min(1)
            centres = torch.where(counts > 0, means, centres)
        return centres


class PoolingTokenizer(Tokenizer):
    """The map scaled down to L pixels: the control that groups by place alone (table 3)."""

    def __init__(self, in_channels: int, num_tokens: int, token_channels: int):
        super().__init__(in_channels, num_tokens, token_channels)
        self.side = isqrt(num_tokens)
        if self.side**2 != num_tokens:
            raise ValueError(
                f"num_tokens of pooling must be a square such as 9 or 16, got {num_tokens}"
            )

    def forward(self, feat, previous=None):
        if min(feat.shape[-2:]) < self.side:
            raise ValueError(
                f"pooling to {self.side} x {self.side} tokens needs a map of that size, got "
                f"{feat.size(2)} x {feat.size(3)}: take fewer tokens or larger images"
            )
        small = F.interpolate(feat, (self.side, self.side), mode="bilinear", align_corners=False)
        return Tokenized(self.value(map_to_tokens(small)), None)


TOKENIZERS = {
    "filter": FilterTokenizer,
    "recurrent": RecurrentTokenizer,
    "cluster": ClusterTokenizer,
    "pooling": PoolingTokenizer,
}


class TokenTransformer(nn.Module):
    """Tokens hear each other: (N, L, D) -> (N, L, D).

    `T' = T + softmax over L ((T K)(T Q)^T) T` (equation 3), `T' + relu(T' F1) F2` (equation 4).

    Args:
        token_channels: Token width D.
        num_heads: Heads, which share out both the D / 4 channels of queries and keys and the D of
            the tokens.
    """

    def __init__(self, token_channels: int, num_heads: int = 16):
        super().__init__()
        check_whole("num_heads", num_heads, 1)
        width = token_channels // 4
        if token_channels % 4 or width % num_heads:
            raise ValueError(
                f"token_channels must be a multiple of 4 * num_heads = {4 * num_heads}, got "
                f"{token_channels}"
            )
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(token_channels)
        self.query = nn.Linear(token_channels, width, bias=False)
        self.key = nn.Linear(token_channels, width, bias=False)
        self.norm2 = nn.LayerNorm(token_channels)
        self.fc1 = nn.Linear(token_channels, token_channels)
        self.fc2 = nn.Linear(token_channels, token_channels)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        parts = self.query(normed), self.key(normed), normed
        query, key, value = (x.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for x in parts)
        heard = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + heard.transpose(1, 2).flatten(2)
        return tokens + self.fc2(self.fc1(self.norm2(tokens)).relu())


class Projector(nn.Module):
    """Pixels read tokens: `X + softmax over L ((X W_Q)(T W_K)^T) T W_V` (equation 5).

    Args:
        in_channels: Channels C of the map.
        token_channels: Token width D. W_V is there where it differs from C.
        key_channels: Width of queries and keys; D by default.
        groups: Groups of W_Q, which is the one matrix that every pixel is multiplied with.
    """

    def __init__(
        self,
        in_channels: int,
        token_channels: int,
        key_channels: int | None = None,
        groups: int = 1,
    ):
        super().__init__()
        key_channels = token_channels if key_channels is None else key_channels
        check_whole("key_channels", key_channels, 1)
        check_whole("groups", groups, 1)
        if in_channels % groups or key_channels % groups:
            raise ValueError(
                f"groups must divide {in_channels} channels of the map and {key_channels} of the "
                f"keys, got {groups}"
            )
        self.query = nn.Conv2d(in_channels, key_channels, 1, groups=groups, bias=False)
        self.norm = nn.LayerNorm(token_channels)
        self.key = nn.Linear(token_channels, key_channels, bias=False)
        same = in_channels == token_channels
        self.value = nn.Identity() if same else nn.Linear(token_channels, in_channels, bias=False)

    def forward(self, feat: Tensor, tokens: Tensor) -> Tensor:
        """(N, C, H, W), (N, L, D) -> (N, C, H, W)"""
        query = map_to_tokens(self.query(feat)).unsqueeze(1)  # (N, 1, H*W, K), one head
        tokens = self.norm(tokens)
        key, value = (linear(tokens).unsqueeze(1) for linear in (self.key, self.value))
        read = F.scaled_dot_product_attention(query, key, value)
        return feat + read.squeeze(1).transpose(1, 2).unflatten(2, feat.shape[-2:])


class VTModule(nn.Module):
    """Tokenizer, transformer, projector (section 3, figure 1).

    Args:
        in_channels: Channels C of the map.
        token_channels: Token width D.
        num_tokens: L.
        tokenizer: A row of `TOKENIZERS`.
        num_heads: Of the transformer.
        groups: Of the projector's query.
        project: False leaves the projector out, and the map as it is: nobody reads the map of a
            last module.
    """

    def __init__(
        self,
        in_channels: int,
        token_channels: int,
        num_tokens: int,
        tokenizer: str,
        num_heads: int = 16,
        groups: int = 1,
        project: bool = True,
    ):
        super().__init__()
        check_choice("tokenizer", tokenizer, TOKENIZERS)
        self.tokenizer = TOKENIZERS[tokenizer](in_channels, num_tokens, token_channels)
        self.transformer = TokenTransformer(token_channels, num_heads)
        self.projector = None
        if project:
            self.projector = Projector(in_channels, token_channels, groups=groups)

    def forward(self, feat: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tokenized]:
        """(N, C, H, W), (N, L, D) -> the map (N, C, H, W) and the tokens (N, L, D)"""
        found = self.tokenizer(feat, previous)
        tokens = self.transformer(found.tokens)
        if self.projector is not None:
            feat = self.projector(feat, tokens)
        return feat, Tokenized(tokens, found.attention)
