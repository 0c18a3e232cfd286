"""Any CNN of timm as a tower: the same modules, the same keys, reached from inside.

The guide must be added before a block's spatial convolution and the detail is that convolution's
activated output. timm's blocks keep both to themselves, so two hooks per block reach them; the
forward passes stay timm's own.
"""

import logging
import re

from mmengine.logging import print_log
from timm.models import _efficientnet_blocks, byobnet, convnext, regnet, resnet
from torch import Tensor, nn

from robustnet_mm.arguments import check_whole
from robustnet_mm.registry import MODELS
from robustnet_mm.weights import WeightsSpec
from robustnet_mm.weights.spec import Rows

from ..grids import add_guide
from .base import CNNTower
from .timm_models import norm_of
from .timm_trunk import blocks_of, create_cnn, layouts_of, level_ends

# timm's block -> (its spatial convolution, the module whose output is that one's, activated)
_INSIDES = {
    resnet.BasicBlock: ("conv2", "act2"),
    resnet.Bottleneck: ("conv2", "act2"),
    regnet.Bottleneck: ("conv2", "conv2"),
    regnet.PreBottleneck: ("conv2", "norm3"),
    byobnet.BottleneckBlock: ("conv2_kxk", "conv2_kxk"),
    convnext.ConvNeXtBlock: ("conv_dw", "conv_dw"),  # has no activation of its own
    _efficientnet_blocks.ConvBnAct: ("conv", "bn1"),
    _efficientnet_blocks.DepthwiseSeparableConv: ("conv_dw", "bn1"),
    _efficientnet_blocks.InvertedResidual: ("conv_dw", "bn2"),
    _efficientnet_blocks.EdgeResidual: ("conv_exp", "bn1"),
}


class TimmBlock(nn.Module):
    """A block of timm, called as `(feat, guide) -> (feat, detail)`.

    Args:
        parts: What runs, in order: the block, or a downsampling layer and the block.
        in_channels: Channels of the map that enters.
        out_channels: Channels of the map that leaves.

    Attributes:
        guided: The module to whose input the guide is added: see `CNNBlock`.
        reaches_inside: False where the inside is not known: then the guide is added at the input,
            and the detail is the output.
        guide_channels: Channels Cg of the map to which the guide is added.
        detail_channels: Channels Cd of the detail.
    """

    def __init__(self, parts: list[nn.Module], in_channels: int, out_channels: int):
        super().__init__()
        self.body = parts[0] if len(parts) == 1 else nn.Sequential(*parts)
        self.guide_channels, self.detail_channels = in_channels, out_channels
        self.reaches_inside = type(parts[-1]) in _INSIDES
        self._guide = self._detail = None
        self._guided = (self.body,)  # in a tuple: what is guided is registered in `body`
        if self.reaches_inside:
            spatial, activated = (getattr(parts[-1], name) for name in _INSIDES[type(parts[-1])])
            conv = getattr(spatial, "conv", spatial)
            self._guided = (spatial,)
            self.guide_channels, self.detail_channels = conv.in_channels, conv.out_channels
            # bound methods, so that a deep copy calls its own block
            spatial.register_forward_pre_hook(self._add_guide)
            activated.register_forward_hook(self._keep_detail)

    @property
    def guided(self) -> nn.Module:
        return self._guided[0]

    def _add_guide(self, module, args):
        return (add_guide(args[0], self._guide), *args[1:])

    def _keep_detail(self, module, args, output):
        self._detail = output

    def forward(self, feat: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N, Cg, h, w) -> (N, C', H', W'), (N, Cd, H'', W'')"""
        if not self.reaches_inside:
            feat = self.body(add_guide(feat, guide))
            return feat, feat
        self._guide = guide
        try:  # a recomputation in the backward pass ends the body early, by an exception
            feat = self.body(feat)
            return feat, self._detail
        finally:
            self._guide = self._detail = None


@MODELS.register_module()
class TimmCNNTower(CNNTower):
    """A CNN of timm by name; also a backbone of its own (a CNN control).

    Reaches the spatial convolution inside each block of ResNet, ResNeXt, Wide-ResNet, SE/ECA
    variants, RegNet, ConvNeXt(V2), MobileNetV2/V3 and EfficientNet(V2). Any other network of timm
    with a stem and stages exchanges at its blocks' borders, and says so once. What timm does after
    its last block belongs to `TimmCNNClassifier`.

    Args:
        model_name: timm's name, with or without a tag: 'convnext_tiny.fb_in1k'.
        model_args: Arguments of that model, e.g. `dict(drop_path_rate=0.1, output_stride=16)`.
        num_levels: Levels of the pyramid that are kept, with the blocks up to them; all by default.
        kwargs: See `CNNTower` and `Tower`.

    Attributes:
        out_channels: Channels of the pyramid's maps.
        out_strides: Their strides in pixels: 4, 8, 16, 32 where the network goes that far.
        level_ends: The block that ends each level.

    Raises:
        ValueError: Unknown name, a network that has no stages or whose maps are not
            (N, C, H, W), or `num_levels` or `frozen_stages` out of range.
    """

    def __init__(
        self,
        model_name: str,
        model_args: dict | None = None,
        num_levels: int | None = None,
        **kwargs,
    ):
        model, layout = create_cnn(model_name, model_args)
        given, own_norm = kwargs.pop("input_norm", None), norm_of(model)
        super().__init__(input_norm=own_norm if given is None else given, **kwargs)
        stem, holders = layout
        self.stem_names = stem
        kept = (*stem, *holders)
        rest = [name for name, _ in model.named_children() if name not in kept]
        self.model = nn.Module()
        for name in kept:
            self.model.add_module(name, getattr(model, name))
        # no ModuleList: the blocks are registered in `model`, under timm's own names
        found, left = self._up_to(num_levels, blocks_of(model_name, model, layout), model_name)
        self.weights_spec = WeightsSpec(
            "cnn",
            layouts_of(model),
            _keys(kept, rest + left),
            tuple(f"model.{name}." for name in left),
            model_name=model_name,
            assumed_mean=own_norm["mean"] if given is None else None,
            trains_norms=not self.norm_eval,
        )
        self.blocks = [TimmBlock(parts, *channels) for parts, channels, _ in found]
        self._block_names = self._find_block_names()
        self.out_channels = tuple(found[u][1][1] for u in self.level_ends)
        self.out_strides = tuple(found[u][2] for u in self.level_ends)
        self._say_where_it_exchanges(model_name)
        self._complete()

    def _up_to(
        self, num_levels: int | None, found: list[tuple], model_name: str
    ) -> tuple[list[tuple], list[str]]:
        """Sets `level_ends` to the first `num_levels`, and removes the blocks behind them.

        Returns:
            The blocks that stay, and timm's names of the modules that were removed.
        """
        ends = level_ends(found)
        if num_levels is not None:
            check_whole(f"num_levels of {model_name}", num_levels, 1, len(ends))
        self.level_ends = ends[:num_levels]
        if len(self.level_ends) == len(ends):
            return found, []
        found = found[: self.level_ends[-1] + 1]
        return found, self._leave_all_but([part for parts, *_ in found for part in parts])

    def _leave_all_but(self, parts: list[nn.Module]) -> list[str]:
        """Of what holds the blocks only `parts` stay; timm's names of the others."""
        kept = {module for part in [*parts, *self._stem_parts] for module in part.modules()}
        left = []
        for name, module in self.model.named_modules():
            outermost = not name.startswith(tuple(f"{other}." for other in left))
            if outermost and not kept & {*module.modules()}:
                left.append(name)
        for name in left:
            holder, _, child = name.rpartition(".")
            delattr(self.model.get_submodule(holder), child)
        return left

    def _say_where_it_exchanges(self, model_name: str):
        closed = sum(not block.reaches_inside for block in self.blocks)
        if closed:
            print_log(
                f"TimmCNNTower: {closed} of {len(self.blocks)} blocks of {model_name} cannot "
                "be reached inside; they exchange at their borders",
                logger="current",
                level=logging.WARNING,
            )

    @property
    def _stem_parts(self):
        return [getattr(self.model, name) for name in self.stem_names]

    def _depth(self, name: str) -> int:
        for index, names in enumerate(self._block_names):
            if name.startswith(names):
                return index + 1
        return 0

    def _find_block_names(self) -> list[tuple[str, ...]]:
        """Where each block's modules stand in timm's network: ('layer1.0.',)."""
        named = {id(module): name for name, module in self.model.named_modules()}
        return [
            tuple(f"{named[id(m)]}." for m in block.modules() if id(m) in named)
            for block in self.blocks
        ]

    def stem(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> what the first block reads"""
        feat = self.normalize(images)
        for part in self._stem_parts:
            feat = part(feat)
        return feat


def _keys(kept: tuple[str, ...], left: list[str]) -> Rows:
    """timm's key -> the tower's; None for what it leaves."""
    rows = [(rf"({'|'.join(map(re.escape, left))})(\..*)?", None)] if left else []
    return [*rows, (rf"({'|'.join(kept)})(\..*)?", r"model.\g<0>")]
