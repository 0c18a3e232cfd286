"""MobileNetV2 x DeiT-Tiny for your own data on a laptop, with their classifiers and neck.

By default timm's mobilenetv2_100 and deit_tiny_patch16_224 (Apache-2.0); torchvision's
MobileNetV2 fits too.
"""

_base_ = "./own_start.py"

cnn = dict(
    type="robustnet_mm.TimmCNNTower",
    model_name="mobilenetv2_100",
    norm_eval=True,  # batches are small
    channels_last=True,
    init_cfg=_base_.cnn_start,
)
vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="deit_tiny_patch16_224",
    frozen_stages=_base_.frozen_blocks,
    init_cfg=_base_.vit_start,
)
towers = dict(
    _delete_=True,  # of what stands there
    type="robustnet_mm.RobustNet",
    cnn=cnn,
    vit=vit,
    weave="even",
)
classifiers = dict(
    cnn=dict(
        model_name=cnn["model_name"],
        init_cfg=dict(_base_.cnn_start, allow_missing=[r"model\.classifier\."]),
    ),
    vit=dict(
        model_name=vit["model_name"],
        init_cfg=dict(_base_.vit_start, allow_missing=[r"model\.head\."]),
    ),
)
pyramid = 64  # channels
widths = [24, 32, 96, 320]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=192),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=pyramid, num_outs=5),
]
narrow_heads = dict(
    rpn_head=dict(in_channels=pyramid, feat_channels=pyramid),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=pyramid),
        bbox_head=dict(in_channels=pyramid, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=pyramid),
        mask_head=dict(in_channels=pyramid, conv_out_channels=pyramid),
    ),
    train_cfg=dict(rcnn=dict(sampler=dict(num=128)), rpn_proposal=dict(max_per_img=300)),
    test_cfg=dict(rpn=dict(max_per_img=300)),
)
