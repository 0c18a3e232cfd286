"""Barlow Twins of ViT-B/16 on ImageNet-1k: the mean of its patch tokens is projected.

    tools/dist_train.sh configs/selfsup/barlowtwins_vit-base_300e_in1k.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = "../_base_/barlowtwins_adamw.py"

model = dict(
    type="BarlowTwins",
    backbone=dict(type="robustnet_mm.ViTTower", model_name="vit_base_patch16_224"),
    neck=[
        dict(type="robustnet_mm.TowerPool"),
        dict(_base_.projector, in_channels=768, with_avg_pool=False),
    ],
    head=_base_.head,
)
