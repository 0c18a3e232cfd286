"""Mask R-CNN with ResNet-50 x DeiT-B/16 on COCO, 12 epochs.

    tools/dist_train.sh configs/coco/mask-rcnn_resnet50-deit-base_fpn_1x_coco.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
resnet50.a1_in1k and deit_base_patch16_224.fb_in1k (both Apache-2.0), downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
From a woven classifier's checkpoint: `--cfg-options model.backbone.cnn.init_cfg=None
model.backbone.vit.init_cfg=None model.backbone.init_cfg.type=robustnet_mm.PretrainedTower
model.backbone.init_cfg.checkpoint=FILE model.backbone.init_cfg.prefix=backbone.`
"""

_base_ = ["../_base_/mask-rcnn_coco_1x.py", "../_base_/resnet50-deit-base.py"]
model = dict(backbone=_base_.detector, neck=_base_.tower_fpn)
