"""Mask R-CNN with ResNet-50 x DINOv2 ViT-S/14 on your own data in COCO format: docs/own-data.md.

    DATA_ROOT=data/own python tools/train.py \
        configs/own_data/mask-rcnn_resnet50-dinov2-small_own-coco.py

Chosen for one GPU of 12 GB; not measured on one. For a CPU: the twin of MobileNetV2.
"""

_base_ = ["../_base_/own_coco.py", "../_base_/own_resnet50-dinov2-small.py"]
model = dict(backbone=_base_.towers, neck=_base_.tower_fpn)
