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
widths = [24, 32, 96, 320]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=192),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=64, num_outs=5),
]
