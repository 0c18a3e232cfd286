"""The woven backbone, its heads and its neck."""

from .data_preprocessor import SizedDataPreprocessor
from .folding import fold_batchnorm
from .heads import TowerLogits, TwoTowerHead
from .mask_tta import MaskTTAModel
from .necks import SimplePyramid, TowerNeck
from .robustnet import VARIANTS, RobustNet, TowerOutputs
from .sized_images import SizedImages
from .towers import CONV_ARCHS, ConvTower, TimmCNNTower, ViTTower
from .weave import pair_blocks

__all__ = [
    "CONV_ARCHS",
    "VARIANTS",
    "ConvTower",
    "MaskTTAModel",
    "RobustNet",
    "SimplePyramid",
    "SizedDataPreprocessor",
    "SizedImages",
    "TimmCNNTower",
    "TowerLogits",
    "TowerNeck",
    "TowerOutputs",
    "TwoTowerHead",
    "ViTTower",
    "fold_batchnorm",
    "pair_blocks",
]
