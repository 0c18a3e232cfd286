"""The twin of VT-FPN: Panoptic FPN on MobileNetV2 for your own masks: docs/visual-tokens.md.

    DATA_ROOT=data/own IMAGE_SIZE=256 python tools/train.py \
        configs/own_data/fpn_mobilenetv2_own-masks.py

docs/segmentation.md says what the folder holds.
"""

_base_ = [
    "../_base_/own_masks.py",
    "../_base_/own_mobilenetv2-deit-tiny.py",
    "../_base_/panoptic_fpn.py",
]
model = dict(
    backbone=dict(_delete_=True, **_base_.cnn),
    neck=dict(type="FPN", in_channels=_base_.widths, out_channels=128, num_outs=4),
    decode_head=dict(**_base_.fpn_head, in_channels=[128] * 4, num_classes=len(_base_.classes)),
)
