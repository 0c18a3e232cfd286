"""What the runners need beside the models: optimiser constructor, hooks, metric, file backend."""

from robustnet_mm.files import WholeFileBackend

from .checkpoints import WholeCheckpointHook
from .hooks import CheckedImagesHook, EpochSeedHook, NaNGuardHook, ValidateResumedHook
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
    "WholeCheckpointHook",
    "WholeFileBackend",
    "wrap_blocks",
]
