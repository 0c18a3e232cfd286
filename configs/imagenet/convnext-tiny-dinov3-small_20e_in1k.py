"""DINOv3's ConvNeXt-T x ViT-S/16 on ImageNet-1k, by the paper's recipe (not tuned for this pair).

    tools/dist_train.sh configs/imagenet/convnext-tiny-dinov3-small_20e_in1k.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
convnext_tiny.dinov3_lvd1689m and vit_small_patch16_dinov3.lvd1689m, downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
DINOv3's licence is its own: read it first (docs/weights.md). It has no
classifier: its norms are loaded, linear layers start fresh.
"""

_base_ = ["../_base_/imagenet_20e.py", "../_base_/convnext-tiny-dinov3-small.py"]
model = dict(backbone=_base_.towers, head=_base_.classifiers)
