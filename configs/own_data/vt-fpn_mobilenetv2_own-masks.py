"""Panoptic FPN with VT-FPN on MobileNetV2 for your own masks: docs/visual-tokens.md.

    DATA_ROOT=data/own IMAGE_SIZE=256 python tools/train.py \
        configs/own_data/vt-fpn_mobilenetv2_own-masks.py

docs/segmentation.md says what the folder holds.
"""

_base_ = "./fpn_mobilenetv2_own-masks.py"
model = dict(
    neck=dict(
        _delete_=True,
        type="robustnet_mm.VTFPN",
        in_channels=_base_.widths,
        out_channels=128,
        token_channels=512,
    )
)
