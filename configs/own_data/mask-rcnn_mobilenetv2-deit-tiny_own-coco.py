"""Mask R-CNN with MobileNetV2 x DeiT-Tiny on your own data, on a laptop: docs/own-data.md.

    DATA_ROOT=data/own IMAGE_SIZE=320 python tools/train.py \
        configs/own_data/mask-rcnn_mobilenetv2-deit-tiny_own-coco.py
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/own_coco.py",
    "../_base_/own_mobilenetv2-deit-tiny.py",
]
head = dict(in_channels=64, num_classes=len(_base_.classes))
towers = dict(type="robustnet_mm.RobustNet", cnn=_base_.cnn, vit=_base_.vit, weave="even")
model = dict(
    backbone=dict(_delete_=True, **towers),  # of the host's ResNet
    neck=_base_.tower_fpn,
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(**head, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(**head, conv_out_channels=64),
    ),
    train_cfg=dict(rcnn=dict(sampler=dict(num=128)), rpn_proposal=dict(max_per_img=300)),
    test_cfg=dict(rpn=dict(max_per_img=300)),
)
rates = dict(_delete_=True, cnn=dict(lr_mult=0.2), vit=dict(lr_mult=0.1))  # fresh parts: 1
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05), paramwise_cfg=rates)
