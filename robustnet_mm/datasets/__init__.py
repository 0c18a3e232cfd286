"""Data: the generated demo set, classes of your own, strict loading, a check before training."""

from robustnet_mm.datasets.checks import check_data
from robustnet_mm.datasets.digit_scenes import make_digit_scenes
from robustnet_mm.datasets.loading import IMAGE_SUFFIXES, LoadImage
from robustnet_mm.datasets.own_data import (
    coco_classes,
    folder_classes,
    listed_classes,
    palette,
    positive,
    switched_on,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "LoadImage",
    "check_data",
    "coco_classes",
    "folder_classes",
    "listed_classes",
    "make_digit_scenes",
    "palette",
    "positive",
    "switched_on",
]
