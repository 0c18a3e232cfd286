"""RobustNet base-patch14 on ImageNet-1k: the paper's RN-base-patch14 (published top-1: 86.5).

    tools/dist_train.sh configs/imagenet/robustnet-base-patch14_20e_in1k.py 8

Not trained by this project: no woven weights exist. Start from pretrained towers with
`model.backbone.vit.init_cfg` and `model.backbone.cnn.init_cfg` (docs/configs.md).
"""

_base_ = "../_base_/imagenet_20e.py"
model = dict(
    backbone=dict(arch="base-patch14"),
    head=dict(cnn=dict(in_channels=1536), vit=dict(in_channels=1280, pool="avg")),
)
