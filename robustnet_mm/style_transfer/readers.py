"""What content and style are read from: the towers' outputs as maps of one width on one grid."""

import torch.nn.functional as F
from torch import Tensor, nn

from robustnet_mm.models import RobustNet, TowerOutputs
from robustnet_mm.models.grids import tokens_to_map

SOURCES = {"cnn": ("cnn",), "vit": ("vit",), "both": ("cnn", "vit")}


def resize(feat: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear: (N, C, H, W) -> (N, C, *size)."""
    if feat.shape[-2:] == size:
        return feat
    return F.interpolate(feat, size, mode="bilinear", align_corners=False)


class TowerReader(nn.Module):
    """`TowerOutputs` -> the sum of what each tower says, projected: (N, C, h, w).

    Content and style share it, so that both lie in one space and AdaIN of a picture with itself
    changes nothing. There is no norm on the CNN's maps: it would take the style away.

    Args:
        backbone: What gives the outputs.
        width: Channels C.
        stride: Stride in pixels of the grid; finer maps of the CNN are not read.
        towers: 'cnn', 'vit' or both: those that anything is read from.
    """

    def __init__(self, backbone: RobustNet, width: int, stride: int, towers: set[str]):
        super().__init__()
        strides = backbone.out_strides
        self.levels = [k for k, each in enumerate(strides) if each >= stride and "cnn" in towers]
        widths = [backbone.out_channels[k] for k in self.levels]
        self.cnn = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
        self.scale = [patch / stride for patch in backbone.vit.patch_size]
        self.vit = None
        if "vit" in towers:
            dims = backbone.embed_dims
            self.vit = nn.Sequential(nn.LayerNorm(dims, eps=1e-6), nn.Linear(dims, width))

    def forward(self, outputs: TowerOutputs, source: str, size: tuple[int, int]) -> Tensor:
        """`source` is a key of `SOURCES`, `size` the grid (h, w)."""
        towers, found = SOURCES[source], []
        if "cnn" in towers:
            maps = [outputs.maps[k] for k in self.levels]
            found += [conv(feat) for conv, feat in zip(self.cnn, maps, strict=True)]
        if "vit" in towers:
            feat = tokens_to_map(self.vit(outputs.tokens), outputs.grid)
            # the patches reach beyond the picture where it is no whole number of them
            reach = [round(n * scale) for n, scale in zip(outputs.grid, self.scale, strict=True)]
            height, width = (max(pair) for pair in zip(reach, size, strict=True))
            found.append(resize(feat, (height, width))[..., : size[0], : size[1]])
        return sum(resize(feat, size) for feat in found)
