"""Self-supervised towers: Barlow Twins for both at once, judged without labels."""

from .correlation import barlow_twins_loss, cross_correlation, effective_rank
from .features import TowerPool, extract, pooled
from .hooks import RepresentationHook
from .model import TwoTowerBarlowTwins
from .neighbours import knn_accuracy

__all__ = [
    "RepresentationHook",
    "TowerPool",
    "TwoTowerBarlowTwins",
    "barlow_twins_loss",
    "cross_correlation",
    "effective_rank",
    "extract",
    "knn_accuracy",
    "pooled",
]
