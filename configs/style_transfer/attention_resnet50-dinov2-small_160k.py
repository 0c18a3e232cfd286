"""Style transfer with ResNet-50 x DINOv2 ViT-S/14, by the recipe of today's anchors: warm-up, 1e-4.

    CONTENTS=data/coco/train2017 STYLES=data/wikiart TEST_CONTENTS=... TEST_STYLES=... \
        tools/dist_train.sh configs/style_transfer/attention_resnet50-dinov2-small_160k.py 4

Not trained by this project. Weights: timm's, Apache-2.0 (docs/weights.md).
"""

_base_ = ["../_base_/style_transfer.py", "../_base_/own_resnet50-dinov2-small.py"]

model = dict(backbone=dict(_base_.towers, data_norm=_base_.unit))
