"""The woven backbone, its heads and its neck."""

from .conv_tower import CONV_ARCHS, ConvTower
from .data_preprocessor import SizedDataPreprocessor
from .folding import fold_batchnorm
from .heads import TwoTowerHead
from .necks import SimplePyramid, TowerNeck
from .robustnet import VARIANTS, RobustNet, TowerOutputs
from .timm_cnn import TimmCNNTower
from .vit_tower import ViTTower
from .weave import pair_blocks

__all__ = [
    "CONV_ARCHS",
    "VARIANTS",
    "ConvTower",
    "RobustNet",
    "SimplePyramid",
    "SizedDataPreprocessor",
    "TimmCNNTower",
    "TowerNeck",
    "TowerOutputs",
    "TwoTowerHead",
    "ViTTower",
    "fold_batchnorm",
    "pair_blocks",
]
