"""Other forms of annotations into COCO's, which the configs of this package read."""

from .coco import CocoWriter
from .open_images import OpenImages, check_hierarchy
from .voc import voc_to_coco
from .yolo import yolo_to_coco

__all__ = ["CocoWriter", "OpenImages", "check_hierarchy", "voc_to_coco", "yolo_to_coco"]
