"""Mask R-CNN with RobustNet small-patch16 on COCO, 12 epochs.

    tools/dist_train.sh configs/coco/mask-rcnn_robustnet-small-patch16_fpn_1x_coco.py 8

Not trained by this project: no COCO weights exist. From a classifier's checkpoint:
`--cfg-options model.backbone.init_cfg.type=robustnet_mm.PretrainedTower
model.backbone.init_cfg.checkpoint=FILE model.backbone.init_cfg.prefix=backbone.`
"""

_base_ = ["../_base_/mask-rcnn_coco_1x.py", "../_base_/robustnet-small-patch16_fpn.py"]
model = dict(backbone=_base_.detector, neck=_base_.tower_fpn)
