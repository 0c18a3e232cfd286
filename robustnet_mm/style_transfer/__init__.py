"""Arbitrary style transfer with a woven backbone: the paper's third task."""

from .datasets import ContentStyleDataset, DrawSampler
from .discriminator import PatchDiscriminator
from .distributions import LikenessMetric
from .gatys import optimize_picture
from .hooks import StyleSnapshotHook
from .losses import PerceptualLoss
from .metrics import StyleMetric
from .model import RobustStyleTransfer
from .networks import TowerFeatures, VGGFeatures
from .optim import AdversarialConstructor
from .preprocessor import StylePreprocessor, StyleSample
from .stylizer import Stylizer
from .transfer import adain

__all__ = [
    "AdversarialConstructor",
    "ContentStyleDataset",
    "DrawSampler",
    "LikenessMetric",
    "PatchDiscriminator",
    "PerceptualLoss",
    "RobustStyleTransfer",
    "StyleMetric",
    "StylePreprocessor",
    "StyleSample",
    "StyleSnapshotHook",
    "Stylizer",
    "TowerFeatures",
    "VGGFeatures",
    "adain",
    "optimize_picture",
]
