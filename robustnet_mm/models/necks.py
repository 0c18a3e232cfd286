"""What stands between towers and a neck of the hosts, such as FPN."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from robustnet_mm.arguments import check_choice, check_init_cfg, check_whole, check_wholes
from robustnet_mm.registry import MODELS

from .fiu import ScaledZeroLinear, SqrtZeroLinear, ZeroLinear
from .grids import tokens_to_map
from .paper_fiu import GatedLinear

_LINEARS = {
    "zero_linear": ZeroLinear,
    "zero_mean": ScaledZeroLinear,
    "zero_sqrt": SqrtZeroLinear,
    "gated": GatedLinear,
    "ungated": nn.Linear,
}


@MODELS.register_module()
class TowerNeck(BaseModule):
    """`map + resize(linear(norm(tokens)))` at each level; the linear layers start at zero.

    Put it first in a list: `neck=[dict(type='robustnet_mm.TowerNeck', ...), dict(type='FPN')]`.
    At the start the host's neck sees the pretrained CNN's pyramid exactly.

    Args:
        in_channels: Channels of the backbone's maps (`RobustNet.out_channels`).
        embed_dims: Token width D (`RobustNet.embed_dims`).
        num_levels: Levels of the result. Where the CNN stops early (at stride 16, say), those that
            are missing at its end are made by 2x2 max pooling; by default as many as it has.
        start_level: First level that gets the ViT's map; the finer ones pass as they are. Give
            it the value of the host's neck where that starts higher (RetinaNet: 1).
        form: 'zero_linear'; 'gated' has random linear layers behind gates that start at zero;
            'ungated' has no gates, and no exact start.
        init_cfg: As in mmengine.

    Attributes:
        out_channels: Channels of the result: `in_channels` of the host's neck.

    Raises:
        ValueError: `num_levels` is smaller than the number of levels that come in, or
            `start_level` is none of the levels.
    """

    def __init__(
        self,
        in_channels: tuple[int, ...],
        embed_dims: int,
        num_levels: int | None = None,
        start_level: int = 0,
        form: str = "zero_linear",
        init_cfg=None,
    ):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        self.in_channels = check_wholes("in_channels", in_channels, 1)
        if not self.in_channels:
            raise ValueError("in_channels must be the backbone's out_channels, got none")
        check_whole("embed_dims", embed_dims, 1)
        check_choice("form", form, _LINEARS)
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        if num_levels is not None:
            check_whole("num_levels", num_levels, 1)
        self.start_level = start_level
        missing = (num_levels or len(self.in_channels)) - len(self.in_channels)
        if missing < 0:
            raise ValueError(
                f"num_levels must be at least the {len(self.in_channels)} levels of in_channels, "
                f"got {num_levels}: set start_level here and in the host's neck"
            )
        self.out_channels = self.in_channels + self.in_channels[-1:] * missing
        check_whole("start_level", start_level, 0, len(self.out_channels) - 1)
        used = self.out_channels[start_level:]
        self.linears = nn.ModuleList(_LINEARS[form](embed_dims, c) for c in used)

    def forward(self, outputs) -> tuple[Tensor, ...]:
        """`TowerOutputs` -> the pyramid, each map (N, C, H, W) and contiguous.

        Raises:
            ValueError: The backbone gives no `TowerOutputs`, or maps or tokens of other widths.
        """
        if not hasattr(outputs, "tokens"):
            raise ValueError(
                "TowerNeck reads both towers, got maps only: set out_type='towers' in the backbone"
            )
        maps, tokens, grid = outputs
        channels = tuple(feat.size(1) for feat in maps)
        if channels != self.in_channels:
            raise ValueError(
                f"in_channels of TowerNeck must be those of the backbone's maps, {channels}, "
                f"got {self.in_channels}: set it to the backbone's out_channels"
            )
        if [tokens.size(-1)] != list(self.norm.normalized_shape):
            raise ValueError(
                f"embed_dims of TowerNeck must be that of the backbone, {tokens.size(-1)}, got "
                f"{self.norm.normalized_shape[0]}"
            )
        maps = list(maps)
        while len(maps) < len(self.out_channels):
            maps.append(F.max_pool2d(maps[-1], kernel_size=2, ceil_mode=True))
        tokens = self.norm(tokens)
        merged = [feat.contiguous() for feat in maps[: self.start_level]]
        for feat, linear in zip(maps[self.start_level :], self.linears, strict=True):
            added = tokens_to_map(linear(tokens), grid).to(feat.dtype)
            added = F.interpolate(added, feat.shape[-2:], mode="bilinear", align_corners=False)
            # contiguous: RoIAlign of mmcv on CPU reads channels_last memory wrongly, in silence
            merged.append((feat + added).contiguous())
        return tuple(merged)


@MODELS.register_module()
class SimplePyramid(BaseModule):
    """A pyramid from the last map of a ViT alone: ViTDet's (Li et al. 2022, section 3, figure 2).

    Each level is made from the ViT's map by itself: deconvolved, as it is, or pooled; then a 1x1
    and a 3x3 convolution, a norm after each. There is no top-down path, so no FPN is needed; one
    may follow where a comparison wants the neck of a CNN.

    It is the whole neck of a backbone that is a `ViTTower`:
    `neck=dict(type='robustnet_mm.SimplePyramid', embed_dims=D, out_channels=256, num_outs=5)`.

    Args:
        embed_dims: Token width D.
        out_channels: Channels C of every level.
        num_outs: Levels of the result; those beyond four halve the one before, as FPN's do.
        init_cfg: As in mmengine.
    """

    def __init__(self, embed_dims: int, out_channels: int = 256, num_outs: int = 5, init_cfg=None):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        check_whole("embed_dims", embed_dims, 4)
        check_whole("out_channels", out_channels, 1)
        check_whole("num_outs", num_outs, 4)
        half, quarter = embed_dims // 2, embed_dims // 4
        four_times = nn.Sequential(
            _doubled(embed_dims, half), LayerNorm2d(half), nn.GELU(), _doubled(half, quarter)
        )
        halved = nn.MaxPool2d(kernel_size=2, ceil_mode=True)
        self.scales = nn.ModuleList([four_times, _doubled(embed_dims, half), nn.Identity(), halved])
        widths = (quarter, half, embed_dims, embed_dims)
        self.convs = nn.ModuleList(_normed_convs(width, out_channels) for width in widths)
        self.num_outs = num_outs

    def forward(self, outputs) -> tuple[Tensor, ...]:
        """Tokens (N, P + h*w, D), grid -> maps (N, C, H, W) at 1/4, 1/2, 1, 2, ... patches."""
        tokens, grid = outputs[-2:]
        feat = tokens_to_map(tokens, grid)
        maps = [conv(scale(feat)) for scale, conv in zip(self.scales, self.convs, strict=True)]
        while len(maps) < self.num_outs:
            maps.append(F.max_pool2d(maps[-1], kernel_size=1, stride=2))
        return tuple(feat.contiguous() for feat in maps)


def _doubled(in_channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)


def _normed_convs(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        LayerNorm2d(out_channels),
    )
