"""ResNet-50 x DeiT-B/16 on ImageNet-1k, by the paper's recipe (not tuned for this pair).

    tools/dist_train.sh configs/imagenet/resnet50-deit-base_20e_in1k.py 8

Not trained by this project: no woven weights exist. The towers start from timm's
resnet50.a1_in1k and deit_base_patch16_224.fb_in1k (both Apache-2.0), downloaded from
huggingface.co/timm when training starts (`checkpoint=FILE` replaces `pretrained=True`).
Both classifiers start from these files too.
"""

_base_ = ["../_base_/imagenet_20e.py", "../_base_/resnet50-deit-base.py"]
model = dict(backbone=_base_.towers, head=_base_.classifiers)
