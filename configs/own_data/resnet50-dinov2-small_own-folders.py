"""Fine-tune ResNet-50 x DINOv2 ViT-S/14, woven, on your own images: docs/own-data.md.

    DATA_ROOT=data/own python tools/train.py configs/own_data/resnet50-dinov2-small_own-folders.py

Chosen for one GPU of 12 GB; not measured on one. For a CPU: the twin of MobileNetV2.
"""

_base_ = ["../_base_/own_folders.py", "../_base_/own_resnet50-dinov2-small.py"]
model = dict(backbone=_base_.towers, head=_base_.classifiers)
