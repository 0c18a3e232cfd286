"""Fine-tune MobileNetV2 x DeiT-Tiny, woven, on your own images, on a laptop: docs/own-data.md.

    DATA_ROOT=data/own python tools/train.py configs/own_data/mobilenetv2-deit-tiny_own-folders.py

Measured on 2000 images of 10 classes at 128 px, beside each tower alone: docs/evidence.md.
"""

_base_ = ["../_base_/own_folders.py", "../_base_/own_mobilenetv2-deit-tiny.py"]
model = dict(backbone=_base_.towers, head=_base_.classifiers)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
