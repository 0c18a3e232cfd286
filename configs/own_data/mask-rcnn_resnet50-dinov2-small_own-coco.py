"""Mask R-CNN with ResNet-50 x DINOv2 ViT-S/14 on your own data in COCO format: docs/own-data.md.

    DATA_ROOT=data/own python tools/train.py \
        configs/own_data/mask-rcnn_resnet50-dinov2-small_own-coco.py

Chosen for one GPU of 12 GB; not measured on one. For a CPU: the twin of MobileNetV2.
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/own_coco.py",
    "../_base_/own_resnet50-dinov2-small.py",
]
towers = dict(type="robustnet_mm.RobustNet", cnn=_base_.cnn, vit=_base_.vit, weave="even")
head = dict(num_classes=len(_base_.classes))
model = dict(
    backbone=dict(_delete_=True, **towers),  # of the host's ResNet
    neck=_base_.tower_fpn,
    roi_head=dict(bbox_head=head, mask_head=head),
)
