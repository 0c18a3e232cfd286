"""RobustNet large-patch16 on ImageNet-1k: the paper's RN-large (published top-1: 85.4).

    tools/dist_train.sh configs/imagenet/robustnet-large-patch16_20e_in1k.py 8

Not trained by this project: no woven weights exist. Start from pretrained towers with
`model.backbone.vit.init_cfg` and `model.backbone.cnn.init_cfg` (docs/configs.md).
"""

_base_ = "../_base_/imagenet_20e.py"
model = dict(
    backbone=dict(arch="large-patch16"),
    head=dict(cnn=dict(in_channels=1536), vit=dict(in_channels=1024, pool="avg")),
)
