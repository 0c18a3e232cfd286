"""ResNet-50 x DINOv2 ViT-B/14 on ImageNet-1k, by the paper's recipe (not tuned for this pair).

    tools/dist_train.sh configs/imagenet/resnet50-dinov2-base_20e_in1k.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
resnet50.a1_in1k and vit_base_patch14_dinov2.lvd142m (both Apache-2.0), downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
DINOv2 has no classifier: its final norm is loaded, its linear layer starts fresh.
"""

_base_ = ["../_base_/imagenet_20e.py", "../_base_/resnet50-dinov2-base.py"]
model = dict(backbone=_base_.towers, head=_base_.classifiers)
