"""The twin of VT-ResNet: ResNet on ImageNet-1k by the same plain recipe.

    DEPTH=18 tools/dist_train.sh configs/visual_tokens/resnet_90e_in1k.py 8

DEPTH is 18 (default), 34, 50 or 101. Not trained by this project: no weights of it exist.
Published figures: docs/visual-tokens.md.
"""

_base_ = ["../_base_/imagenet_90e.py", "../_base_/visual_tokens.py"]
model = dict(**_base_.resnet)
published = _base_.published_resnet
