"""Mask R-CNN with RobustNet nano on DigitScenes, 192 px: the demo's detector.

    OMP_NUM_THREADS=1 python tools/train.py \
        configs/digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py

It starts from the classifier that `robustnet-nano_5e_crops.py` leaves in its work dir; from
scratch: `--cfg-options model.backbone.init_cfg=None`. `python tools/demo.py` does it all.
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/digit_scenes.py",
    "../_base_/nano_digit_scenes.py",
]
levels = _base_.levels
regions = dict(out_channels=64, roi_layer=dict(sampling_ratio=1))
model = dict(
    backbone=_base_.nano,
    neck=[
        dict(type="robustnet_mm.TowerNeck", in_channels=levels, embed_dims=96),
        dict(type="mmdet.FPN", in_channels=levels, out_channels=64, num_outs=4),
    ],
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[6], ratios=[0.75, 1.4, 2.4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(**regions, finest_scale=28),
        bbox_head=dict(
            in_channels=64, fc_out_channels=256, num_classes=10, reg_class_agnostic=True
        ),
        mask_roi_extractor=dict(**regions, finest_scale=56),
        mask_head=dict(
            num_convs=2, in_channels=64, conv_out_channels=32, num_classes=10, class_agnostic=True
        ),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(pos_iou_thr=0.6), sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=400, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.33)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=400, max_per_img=100)),
)
