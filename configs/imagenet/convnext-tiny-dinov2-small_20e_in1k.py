"""ConvNeXt-T x DINOv2 ViT-S/14 on ImageNet-1k, by the paper's recipe (not tuned for this pair).

    tools/dist_train.sh configs/imagenet/convnext-tiny-dinov2-small_20e_in1k.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
convnext_tiny.fb_in1k and vit_small_patch14_dinov2.lvd142m (both Apache-2.0), downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
DINOv2 has no classifier: its final norm is loaded, its linear layer starts fresh.
"""

_base_ = ["../_base_/imagenet_20e.py", "../_base_/convnext-tiny-dinov2-small.py"]
model = dict(backbone=_base_.towers, head=_base_.classifiers)
