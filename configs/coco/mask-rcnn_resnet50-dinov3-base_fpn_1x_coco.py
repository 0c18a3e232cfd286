"""Mask R-CNN with ResNet-50 x DINOv3 ViT-B/16 on COCO, 12 epochs.

    tools/dist_train.sh configs/coco/mask-rcnn_resnet50-dinov3-base_fpn_1x_coco.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
resnet50.a1_in1k and vit_base_patch16_dinov3.lvd1689m, downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
DINOv3's licence is its own: read it first (docs/weights.md).
"""

_base_ = ["../_base_/mask-rcnn_coco_1x.py", "../_base_/resnet50-dinov3-base.py"]
model = dict(backbone=_base_.detector, neck=_base_.tower_fpn)
