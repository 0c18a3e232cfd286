"""SegFormer's head on MobileNetV2 x DeiT-Tiny for your own masks, on a laptop.

    DATA_ROOT=data/own IMAGE_SIZE=256 python tools/train.py \
        configs/own_data/segformer_mobilenetv2-deit-tiny_own-masks.py

docs/segmentation.md says what the folder holds.
"""

_base_ = ["../_base_/own_masks.py", "../_base_/own_mobilenetv2-deit-tiny.py"]
model = dict(
    backbone=_base_.towers,
    neck=_base_.tower_fpn[0],
    decode_head=dict(in_channels=_base_.widths, channels=128),
)
