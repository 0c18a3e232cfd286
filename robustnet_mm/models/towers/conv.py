"""ConvTower: residual CNNs, block by block, in the shapes of the published networks.

A block is called as `(feat, guide) -> (feat, detail)`: `guide` is what the ViT says, added before
the block's spatial convolution; `detail` is that convolution's activated output.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from robustnet_mm.arguments import check_choice
from robustnet_mm.registry import MODELS
from robustnet_mm.weights import WeightsSpec
from robustnet_mm.weights.sources import conformer_keys, resnet_keys

from ..grids import add_guide
from .base import CNNTower


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with the stride in the 3x3: the block of ResNet, ResNeXt and Conformer.

    The guide is added before the 3x3 convolution, whose activated output is the detail.
    """

    reaches_inside = True

    def __init__(self, channels: tuple[int, int, int], stride=1, project=False, groups=1, eps=1e-5):
        super().__init__()
        inner, mid, outer = channels
        self.guide_channels = self.detail_channels = mid
        self.conv1 = nn.Conv2d(inner, mid, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(mid, eps=eps)
        self.conv2 = nn.Conv2d(mid, mid, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(mid, eps=eps)
        self.conv3 = nn.Conv2d(mid, outer, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer, eps=eps)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(inner, outer, stride, eps) if project else nn.Identity()

    @property
    def guided(self) -> nn.Conv2d:
        return self.conv2

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def forward(self, feat: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N, Cd, h, w) -> (N, C', H', W'), (N, Cd, H', W')"""
        x = self.relu(self.bn1(self.conv1(feat)))
        detail = self.relu(self.bn2(self.conv2(add_guide(x, guide))))
        x = self.bn3(self.conv3(detail))
        return self.relu(x + self.downsample(feat)), detail


class BasicBlock(nn.Module):
    """Two 3x3 convolutions: the block of ResNet-18 and ResNet-34.

    The guide is added before the second, whose activated output is the block's own.
    """

    reaches_inside = True

    def __init__(self, channels: tuple[int, int, int], stride=1, project=False, groups=1, eps=1e-5):
        super().__init__()
        inner, mid, outer = channels
        self.guide_channels = self.detail_channels = outer
        self.conv1 = nn.Conv2d(inner, mid, 3, stride, padding=1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(mid, eps=eps)
        self.conv2 = nn.Conv2d(mid, outer, 3, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(outer, eps=eps)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(inner, outer, stride, eps) if project else nn.Identity()

    @property
    def guided(self) -> nn.Conv2d:
        return self.conv2

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2

    def forward(self, feat: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N, C', h, w) -> twice (N, C', H', W')"""
        x = self.relu(self.bn1(self.conv1(feat)))
        x = self.bn2(self.conv2(add_guide(x, guide)))
        feat = self.relu(x + self.downsample(feat))
        return feat, feat


def _projection(inner: int, outer: int, stride: int, eps: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer, eps=eps)
    )


@dataclass(frozen=True)
class ConvArch:
    """The shape of a residual CNN: four stages of blocks after a 7x7 stem and a max pooling."""

    block: type[nn.Module]
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    mid_ratio: float = 0.25  # width of the 3x3 convolution relative to the block's output
    groups: int = 1
    stem: int = 64  # channels after the 7x7 convolution
    eps: float = 1e-5
    conformer: bool = False  # projects in block 0 always, and strides last in the last stage

    def strides(self, stage: int) -> list[int]:
        strides = [1] * self.depths[stage]
        if stage > 0:
            last = self.conformer and stage == len(self.depths) - 1
            strides[-1 if last else 0] = 2
        return strides


def _resnet(*depths: int, **kwargs) -> ConvArch:
    return ConvArch(Bottleneck, depths, (256, 512, 1024, 2048), **kwargs)


def _conformer(width: int) -> ConvArch:
    """Conformer's conv branch: conv_1, then two blocks in each of conv_trans_2 .. conv_trans_12."""
    channels = (width, 2 * width, 4 * width, 4 * width)
    return ConvArch(Bottleneck, (7, 8, 6, 2), channels, eps=1e-6, conformer=True)


CONV_ARCHS = {
    "nano": ConvArch(BasicBlock, (2, 2, 2, 2), (32, 64, 128, 256), mid_ratio=1, stem=32),
    "resnet18": ConvArch(BasicBlock, (2, 2, 2, 2), (64, 128, 256, 512), mid_ratio=1),
    "resnet34": ConvArch(BasicBlock, (3, 4, 6, 3), (64, 128, 256, 512), mid_ratio=1),
    "resnet50": _resnet(3, 4, 6, 3),
    "resnet101": _resnet(3, 4, 23, 3),
    "resnext50_32x4d": _resnet(3, 4, 6, 3, mid_ratio=0.5, groups=32),
    "resnext101_32x4d": _resnet(3, 4, 23, 3, mid_ratio=0.5, groups=32),
    "resnext101_32x8d": _resnet(3, 4, 23, 3, mid_ratio=1, groups=32),
    "conformer_tiny": _conformer(64),
    "conformer_small": _conformer(256),
    "conformer_base": _conformer(384),
}


@MODELS.register_module()
class ConvTower(CNNTower):
    """A residual CNN as a flat list of blocks; also a backbone of its own (a CNN control).

    Args:
        arch: A row of `CONV_ARCHS`: 'resnet18' .. 'resnext101_32x8d', 'conformer_small', ...
        kwargs: See `CNNTower` and `Tower`.

    Attributes:
        out_channels: Channels of the pyramid's maps.
        out_strides: Their strides in pixels: (4, 8, 16, 32).
        level_ends: The block that ends each level.

    Raises:
        ValueError: Unknown `arch`, or `frozen_stages` out of range.
    """

    def __init__(self, arch: str, **kwargs):
        super().__init__(**kwargs)
        check_choice("arch of ConvTower", arch, CONV_ARCHS, " (other CNNs: TimmCNNTower)")
        self.arch, spec = arch, CONV_ARCHS[arch]
        self.conv1 = nn.Conv2d(3, spec.stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(spec.stem, eps=spec.eps)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks = nn.ModuleList()
        self.level_ends, self.out_strides, inner, stride_so_far = [], [], spec.stem, 4
        for stage, outer in enumerate(spec.channels):
            for stride in spec.strides(stage):
                always = spec.conformer and len(self.blocks) == 0
                project = stride != 1 or (inner != outer) or always
                widths = (inner, int(outer * spec.mid_ratio), outer)
                self.blocks.append(spec.block(widths, stride, project, spec.groups, spec.eps))
                inner, stride_so_far = outer, stride_so_far * stride
            self.level_ends.append(len(self.blocks) - 1)
            self.out_strides.append(stride_so_far)
        self.out_channels, self.out_strides = tuple(spec.channels), tuple(self.out_strides)
        layout = "Conformer" if spec.conformer else "ResNet"
        keys = conformer_keys() if spec.conformer else resnet_keys(spec.depths)
        self.weights_spec = WeightsSpec("cnn", (layout,), keys, trains_norms=not self.norm_eval)
        self._init_random()
        self._complete()

    def _init_random(self):
        """Each residual block starts as its shortcut: sane maps even with untrained statistics."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for block in self.blocks:
            nn.init.zeros_(block.last_norm.weight)

    @property
    def _stem_parts(self):
        return [self.conv1, self.bn1]

    def stem(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 64, H/4, W/4)"""
        return self.maxpool(self.relu(self.bn1(self.conv1(self.normalize(images)))))
