"""Faster R-CNN with MobileNetV2 x DeiT-Tiny on your own boxes, on a laptop: docs/own-data.md.

    DATA_ROOT=data/own IMAGE_SIZE=320 python tools/train.py \
        configs/own_data/faster-rcnn_mobilenetv2-deit-tiny_own-coco.py
"""

_base_ = "./mask-rcnn_mobilenetv2-deit-tiny_own-coco.py"

model = dict(type="FasterRCNN", roi_head=dict(mask_roi_extractor=None, mask_head=None))
boxes = dict(type="LoadAnnotations", with_bbox=True)  # in the place of boxes and masks
train, test = _base_.train_pipeline, _base_.test_pipeline
train_dataloader = dict(dataset=dict(pipeline=[train[0], boxes, *train[2:]]))
val_dataloader = dict(dataset=dict(pipeline=[*test[:2], boxes, test[3]]))
test_dataloader = val_dataloader
val_evaluator = dict(metric="bbox")
test_evaluator = val_evaluator
