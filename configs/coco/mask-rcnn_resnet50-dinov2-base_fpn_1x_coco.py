"""Mask R-CNN with ResNet-50 x DINOv2 ViT-B/14 on COCO, 12 epochs.

    tools/dist_train.sh configs/coco/mask-rcnn_resnet50-dinov2-base_fpn_1x_coco.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
resnet50.a1_in1k and vit_base_patch14_dinov2.lvd142m (both Apache-2.0), downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
From a woven classifier's checkpoint: `--cfg-options model.backbone.cnn.init_cfg=None
model.backbone.vit.init_cfg=None model.backbone.init_cfg.type=robustnet_mm.PretrainedTower
model.backbone.init_cfg.checkpoint=FILE model.backbone.init_cfg.prefix=backbone.`
"""

_base_ = ["../_base_/mask-rcnn_coco_1x.py", "../_base_/resnet50-dinov2-base.py"]
model = dict(backbone=_base_.detector, neck=_base_.tower_fpn)
