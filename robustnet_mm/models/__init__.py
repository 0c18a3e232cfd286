"""The woven backbone, its heads and its neck."""

from .conv_blocks import CONV_ARCHS
from .heads import TwoTowerHead
from .necks import TowerNeck
from .robustnet import VARIANTS, RobustNet, TowerOutputs
from .towers import ConvTower, ViTTower
from .weave import pair_blocks

__all__ = [
    "CONV_ARCHS",
    "VARIANTS",
    "ConvTower",
    "RobustNet",
    "TowerNeck",
    "TowerOutputs",
    "TwoTowerHead",
    "ViTTower",
    "pair_blocks",
]
