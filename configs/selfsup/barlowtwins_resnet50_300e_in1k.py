"""Barlow Twins of ResNet-50 on ImageNet-1k, as published but for 300 epochs instead of 1000.

    tools/dist_train.sh configs/selfsup/barlowtwins_resnet50_300e_in1k.py 8

Not trained by this project: no weights of it exist.
mmpretrain publishes 71.80 % for a linear probe on its own training of this kind.
"""

_base_ = "../_base_/barlowtwins_lars.py"

model = dict(
    type="BarlowTwins",
    backbone=dict(type="ResNet", depth=50, zero_init_residual=True),
    neck=dict(_base_.projector, in_channels=2048),
    head=_base_.head,
)
