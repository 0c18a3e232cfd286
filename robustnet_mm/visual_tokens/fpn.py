"""VT-FPN: a pyramid whose levels talk by tokens in place of convolutions (section 4, figure 4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from robustnet_mm.arguments import check_init_cfg, check_whole, check_wholes
from robustnet_mm.registry import MODELS

from .modules import FilterTokenizer, Projector, TokenTransformer


@MODELS.register_module()
class VTFPN(BaseModule):
    """In the place of FPN: maps of the backbone -> as many maps of one width, each heard by all.

    A 1x1 convolution at each level, then L tokens of it; one transformer over the tokens of all
    levels; each level reads its own tokens, which have heard the others', back. There is no
    top-down path and no 3x3 convolution.

    Args:
        in_channels: Channels of the backbone's maps, one number a level.
        out_channels: Channels C of every level.
        num_outs: Levels of the result; those beyond the backbone's halve the one before, as FPN's
            do. By default as many as come in.
        num_tokens: L of each level.
        token_channels: Token width D.
        num_heads: Of the transformer.
        groups: Of the projectors' queries, which every pixel is multiplied with.
        init_cfg: As in mmengine.

    Raises:
        ValueError: No levels, fewer of them out than in, widths that heads or groups do not divide.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        num_outs: int | None = None,
        num_tokens: int = 8,
        token_channels: int = 1024,
        num_heads: int = 16,
        groups: int = 16,
        init_cfg=None,
    ):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        self.in_channels = check_wholes("in_channels", in_channels, 1)
        if not self.in_channels:
            raise ValueError(
                "in_channels must have a number for each map of the backbone, got none"
            )
        check_whole("out_channels", out_channels, 1)
        self.num_outs = len(self.in_channels) if num_outs is None else num_outs
        also = ": it counts levels of the result, which come from as many maps or fewer"
        check_whole("num_outs", self.num_outs, len(self.in_channels), also=also)
        self.num_tokens = num_tokens
        levels = range(len(self.in_channels))
        self.laterals = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in self.in_channels)
        self.tokenizers = nn.ModuleList(
            FilterTokenizer(out_channels, num_tokens, token_channels) for _ in levels
        )
        self.transformer = TokenTransformer(token_channels, num_heads)
        self.projectors = nn.ModuleList(
            Projector(out_channels, token_channels, out_channels, groups) for _ in levels
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, C_k, H_k, W_k) -> maps (N, C, H_k, W_k)

        Raises:
            ValueError: What comes in are no maps, or other levels than the neck was made for, or
                one of them has fewer pixels than L.
        """
        if not all(isinstance(feat, Tensor) for feat in maps):
            raise ValueError(
                "VTFPN reads maps of one level each, got other outputs: take a CNN as the "
                "backbone, or put a TowerNeck before it"
            )
        channels = tuple(feat.size(1) for feat in maps)
        if channels != self.in_channels:
            raise ValueError(
                f"in_channels of VTFPN must be those of the backbone's maps, {channels}, got "
                f"{self.in_channels}"
            )
        maps = [lateral(feat) for lateral, feat in zip(self.laterals, maps, strict=True)]
        found = [make(feat).tokens for make, feat in zip(self.tokenizers, maps, strict=True)]
        tokens = self.transformer(torch.cat(found, 1)).split(self.num_tokens, dim=1)
        triples = zip(self.projectors, maps, tokens, strict=True)
        maps = [project(feat, own) for project, feat, own in triples]
        while len(maps) < self.num_outs:
            maps.append(F.max_pool2d(maps[-1], kernel_size=1, stride=2))
        return tuple(maps)
