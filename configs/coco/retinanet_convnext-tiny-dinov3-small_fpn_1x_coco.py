"""RetinaNet with DINOv3's ConvNeXt-T x ViT-S/16 on COCO, 12 epochs.

    tools/dist_train.sh configs/coco/retinanet_convnext-tiny-dinov3-small_fpn_1x_coco.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
convnext_tiny.dinov3_lvd1689m and vit_small_patch16_dinov3.lvd1689m, downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
DINOv3's licence is its own: read it first (docs/weights.md).
"""

_base_ = [
    "mmdet::_base_/models/retinanet_r50_fpn.py",
    "mmdet::_base_/datasets/coco_detection.py",
    "../_base_/coco_1x.py",
    "../_base_/convnext-tiny-dinov3-small.py",
]
model = dict(backbone=_base_.detector, neck=_base_.tower_retinanet)
