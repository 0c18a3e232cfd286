"""Data: the generated demo set, a loader that names broken files, a check before training."""

from robustnet_mm.datasets.checks import check_data
from robustnet_mm.datasets.digit_scenes import make_digit_scenes
from robustnet_mm.datasets.loading import LoadImage

__all__ = ["LoadImage", "check_data", "make_digit_scenes"]
