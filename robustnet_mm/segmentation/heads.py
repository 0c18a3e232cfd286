"""SegFormer's head, helped by attention; at the start it is SegFormer's head exactly."""

from abc import abstractmethod

import torch
from mmseg.models import SegformerHead
from mmseg.models.utils import resize
from torch import Tensor, nn

from robustnet_mm.arguments import check_whole
from robustnet_mm.attention import Attention
from robustnet_mm.models.fiu import ZeroLinear
from robustnet_mm.models.grids import pool_to_grid, tokens_to_map
from robustnet_mm.registry import MODELS


class _Fused(SegformerHead):
    """A `SegformerHead` with a place between its features and its classifier."""

    def forward(self, inputs) -> Tensor:
        """The neck's maps and an `Attention` -> logits (N, classes, H/4, W/4)

        Raises:
            ValueError: No attention came in.
        """
        *maps, attention = inputs
        if not isinstance(attention, Attention):
            raise ValueError(
                f"{type(self).__name__} reads attention, got maps only: set model.type="
                "'robustnet_mm.AttentiveEncoderDecoder', or take decode_head.type='SegformerHead'"
            )
        maps = self._transform_inputs(maps)
        pairs = zip(self.convs, maps, strict=True)
        found = [self._resize(conv(feat), maps[0]) for conv, feat in pairs]
        return self.cls_seg(self.fuse(self.fusion_conv(torch.cat(found, 1)), attention))

    def _resize(self, feat: Tensor, like: Tensor) -> Tensor:
        size, corners = like.shape[-2:], self.align_corners
        return resize(feat, size, mode=self.interpolate_mode, align_corners=corners)

    @abstractmethod
    def fuse(self, feat: Tensor, attention: Attention) -> Tensor:
        """(N, C, H/4, W/4) -> the same shape"""


@MODELS.register_module()
class AttentionFusionHead(_Fused):
    """Fusion 1: attention maps gate the features and join them, `f * (1 + G a) + J a`.

    a is a map for each head, resized; G and J are linear layers from heads to channels that start
    at zero.

    Args:
        num_maps: K, heads of the ViT times the number of `attention.blocks`.
        kwargs: Of mmseg's `SegformerHead`.

    Raises:
        ValueError: Another number of maps comes in.
    """

    def __init__(self, num_maps: int, **kwargs):
        super().__init__(**kwargs)
        check_whole("num_maps", num_maps, 1)
        self.gate, self.join = (nn.Conv2d(num_maps, self.channels, 1) for _ in range(2))
        for layer in (self.gate, self.join):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def fuse(self, feat, attention):
        maps = attention.maps().to(feat.dtype)
        if maps.size(1) != self.gate.in_channels:
            raise ValueError(
                f"num_maps of AttentionFusionHead must be {maps.size(1)}, heads times blocks, got "
                f"{self.gate.in_channels}"
            )
        maps = self._resize(maps, feat)
        return feat * (1 + self.gate(maps)) + self.join(maps)


@MODELS.register_module()
class AffinityFusionHead(_Fused):
    """Fusion 2: features are spread along the attention between tokens, `f + Z norm(A f - f)`.

    A is the attention of patches to patches, f the features pooled to the grid of the tokens, and Z
    a linear layer that starts at zero.

    Args:
        kwargs: Of mmseg's `SegformerHead`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = nn.LayerNorm(self.channels, eps=1e-6)
        self.out = ZeroLinear(self.channels, self.channels)

    def fuse(self, feat, attention):
        tokens = pool_to_grid(feat, attention.grid).flatten(2).transpose(1, 2)
        told = self.out(self.norm(attention.spread(tokens) - tokens))
        return feat + self._resize(tokens_to_map(told, attention.grid), feat)
