"""Mask R-CNN on COCO for 12 epochs, for a leaf that joins it with a pair of towers."""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/coco_instance.py",
    "./coco_1x.py",
]
