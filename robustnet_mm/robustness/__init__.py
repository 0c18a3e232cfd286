"""How much a trained network loses on corrupted images: the transform, the sweep, the numbers."""

from .bench import Measurement
from .corruptions import CORRUPTIONS, EXTRA, SEVERITIES, Corrupt
from .report import draw, markdown
from .scores import (
    Found,
    corruption_error,
    lead,
    performance_under_corruption,
    relative_corruption_error,
    relative_performance,
)
from .sweep import Sweep, read_found

__all__ = [
    "CORRUPTIONS",
    "EXTRA",
    "SEVERITIES",
    "Corrupt",
    "Found",
    "Measurement",
    "Sweep",
    "corruption_error",
    "draw",
    "lead",
    "markdown",
    "performance_under_corruption",
    "read_found",
    "relative_corruption_error",
    "relative_performance",
]
