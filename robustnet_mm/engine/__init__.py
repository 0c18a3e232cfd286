"""What the runners need beside the models: optimiser constructor, hooks, metric, file backend."""

from .hooks import EpochSeedHook, NaNGuardHook, WholeFileBackend
from .metrics import TowerAccuracy
from .optim import TowerLayerDecayConstructor

__all__ = [
    "EpochSeedHook",
    "NaNGuardHook",
    "TowerAccuracy",
    "TowerLayerDecayConstructor",
    "WholeFileBackend",
]
