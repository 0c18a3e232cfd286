"""RobustNet tiny on ImageNet-1k: Conformer-Ti convolutions x ViT-Ti/16; no row of the paper.

    tools/dist_train.sh configs/imagenet/robustnet-tiny-patch16_20e_in1k.py 8

Not trained by this project: no woven weights exist. Start from pretrained towers with
`model.backbone.vit.init_cfg` and `model.backbone.cnn.init_cfg` (docs/configs.md).
"""

_base_ = "../_base_/imagenet_20e.py"
model = dict(
    backbone=dict(arch="tiny-patch16"),
    head=dict(cnn=dict(in_channels=256), vit=dict(in_channels=192, pool="token")),
)
