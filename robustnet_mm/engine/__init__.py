"""What the runners need beside the models: optimiser constructor, hooks, metric, file backend."""

from .hooks import (
    CheckedImagesHook,
    EpochSeedHook,
    NaNGuardHook,
    ValidateResumedHook,
    WholeFileBackend,
)
from .metrics import TowerAccuracy
from .monitor import WeaveMonitorHook
from .optim import TowerLayerDecayConstructor
from .sharding import wrap_blocks

__all__ = [
    "CheckedImagesHook",
    "EpochSeedHook",
    "NaNGuardHook",
    "TowerAccuracy",
    "TowerLayerDecayConstructor",
    "ValidateResumedHook",
    "WeaveMonitorHook",
    "WholeFileBackend",
    "wrap_blocks",
]
