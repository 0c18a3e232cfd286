"""What the runners need beside the models: optimiser constructor, hooks, metric, file backend."""

from .hooks import CheckedImagesHook, EpochSeedHook, NaNGuardHook, WholeFileBackend
from .metrics import TowerAccuracy
from .optim import TowerLayerDecayConstructor

__all__ = [
    "CheckedImagesHook",
    "EpochSeedHook",
    "NaNGuardHook",
    "TowerAccuracy",
    "TowerLayerDecayConstructor",
    "WholeFileBackend",
]
