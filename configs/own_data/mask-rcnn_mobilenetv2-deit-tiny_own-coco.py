"""Mask R-CNN with MobileNetV2 x DeiT-Tiny on your own data, on a laptop: docs/own-data.md.

    DATA_ROOT=data/own IMAGE_SIZE=320 python tools/train.py \
        configs/own_data/mask-rcnn_mobilenetv2-deit-tiny_own-coco.py
"""

_base_ = ["../_base_/own_coco.py", "../_base_/own_mobilenetv2-deit-tiny.py"]
model = dict(backbone=_base_.towers, neck=_base_.tower_fpn, **_base_.narrow_heads)
rates = dict(_delete_=True, cnn=dict(lr_mult=0.2), vit=dict(lr_mult=0.1))  # fresh parts: 1
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05), paramwise_cfg=rates)
