"""Mask R-CNN on DigitScenes from two published networks, woven: MobileNetV2 x DeiT-Tiny.

    CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth python tools/train.py \
        configs/digit_scenes/mask-rcnn_mobilenetv2-deit-tiny_digit-scenes.py

Both files are Apache-2.0 (docs/weights.md). Measured beside each tower alone: docs/evidence.md.
"""

_base_ = "./mask-rcnn_robustnet-nano_digit-scenes.py"

start = dict(type="robustnet_mm.PretrainedTower")
cnn = dict(
    type="robustnet_mm.TimmCNNTower",
    model_name="mobilenetv2_100",
    norm_eval=True,
    channels_last=True,
    init_cfg=dict(**start, checkpoint="{{$CNN_WEIGHTS:mobilenet_v2.pth}}"),
)
vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="deit_tiny_patch16_224",
    init_cfg=dict(**start, checkpoint="{{$VIT_WEIGHTS:deit_tiny_patch16_224.pth}}"),
)
levels = [24, 32, 96, 320]
model = dict(
    backbone=dict(_delete_=True, type="robustnet_mm.RobustNet", cnn=cnn, vit=vit, weave="even"),
    neck=[
        dict(type="robustnet_mm.TowerNeck", in_channels=levels, embed_dims=192),
        dict(type="mmdet.FPN", in_channels=levels, out_channels=64, num_outs=4),
    ],
)
optim_wrapper = dict(paramwise_cfg=dict(cnn=dict(lr_mult=0.2), vit=dict(lr_mult=0.1)))
