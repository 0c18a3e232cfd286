"""VT-ResNet on ImageNet-1k, the plain recipe: 90 epochs of SGD on 8 GPUs.

    DEPTH=18 tools/dist_train.sh configs/visual_tokens/vt-resnet_90e_in1k.py 8

DEPTH is 18 (default), 34, 50 or 101. Not trained by this project: no weights of it exist.
Published figures: docs/visual-tokens.md.
"""

_base_ = ["../_base_/imagenet_90e.py", "../_base_/visual_tokens.py"]
model = dict(**_base_.vt_resnet)
published = _base_.published_vt_resnet
