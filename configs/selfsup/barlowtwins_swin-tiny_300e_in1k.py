"""Barlow Twins of Swin-T on ImageNet-1k.

    tools/dist_train.sh configs/selfsup/barlowtwins_swin-tiny_300e_in1k.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = "../_base_/barlowtwins_adamw.py"

model = dict(
    type="BarlowTwins",
    backbone=dict(
        type="SwinTransformer", arch="tiny", img_size=224, drop_path_rate=0.1, pad_small_map=True
    ),
    neck=dict(_base_.projector, in_channels=768),
    head=_base_.head,
)
