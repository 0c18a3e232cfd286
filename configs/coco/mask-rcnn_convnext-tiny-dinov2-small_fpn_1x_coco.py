"""Mask R-CNN with ConvNeXt-T x DINOv2 ViT-S/14 on COCO, 12 epochs.

    tools/dist_train.sh configs/coco/mask-rcnn_convnext-tiny-dinov2-small_fpn_1x_coco.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
convnext_tiny.fb_in1k and vit_small_patch14_dinov2.lvd142m (both Apache-2.0), downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
From a woven classifier's checkpoint: `--cfg-options model.backbone.cnn.init_cfg=None
model.backbone.vit.init_cfg=None model.backbone.init_cfg.type=robustnet_mm.PretrainedTower
model.backbone.init_cfg.checkpoint=FILE model.backbone.init_cfg.prefix=backbone.`
"""

_base_ = ["../_base_/mask-rcnn_coco_1x.py", "../_base_/convnext-tiny-dinov2-small.py"]
model = dict(backbone=_base_.detector, neck=_base_.tower_fpn)
