"""Barlow Twins of both towers of RobustNet small at once on ImageNet-1k.

    tools/dist_train.sh configs/selfsup/barlowtwins_robustnet-small-patch16_300e_in1k.py 8

Not trained by this project: no weights of it exist.
`model.cross_weight` above 0 also asks each tower to agree with the other.
"""

_base_ = "../_base_/barlowtwins_adamw.py"

model = dict(
    type="robustnet_mm.TwoTowerBarlowTwins",
    backbone=dict(type="robustnet_mm.RobustNet", arch="small-patch16"),
    projector=_base_.projector,
    cross_weight=0.0,
)
