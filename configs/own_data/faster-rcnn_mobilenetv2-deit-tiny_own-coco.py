"""Faster R-CNN with MobileNetV2 x DeiT-Tiny on your own boxes, on a laptop: docs/own-data.md.

    DATA_ROOT=data/own IMAGE_SIZE=320 python tools/train.py \
        configs/own_data/faster-rcnn_mobilenetv2-deit-tiny_own-coco.py
"""

_base_ = "./mask-rcnn_mobilenetv2-deit-tiny_own-coco.py"
model = _base_.boxes_only.model
train_dataloader = _base_.boxes_only.train
val_dataloader = test_dataloader = _base_.boxes_only.val
val_evaluator = test_evaluator = dict(metric="bbox")
