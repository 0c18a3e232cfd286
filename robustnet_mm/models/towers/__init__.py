"""The two towers: `base` states what they are, the others fill it in."""

from .base import CNNBlock, CNNTower, Tower, TransformerTower
from .conv import CONV_ARCHS, ConvTower
from .timm_cnn import TimmCNNTower
from .vit import ViTTower

__all__ = [
    "CONV_ARCHS",
    "CNNBlock",
    "CNNTower",
    "ConvTower",
    "TimmCNNTower",
    "Tower",
    "TransformerTower",
    "ViTTower",
]
