"""Faster R-CNN with ResNet-50 x DINOv2 ViT-S/14 on your own boxes: docs/own-data.md.

    DATA_ROOT=data/own python tools/train.py \
        configs/own_data/faster-rcnn_resnet50-dinov2-small_own-coco.py
"""

_base_ = "./mask-rcnn_resnet50-dinov2-small_own-coco.py"
model = _base_.boxes_only.model
train_dataloader = _base_.boxes_only.train
val_dataloader = test_dataloader = _base_.boxes_only.val
val_evaluator = test_evaluator = dict(metric="bbox")
