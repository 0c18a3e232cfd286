"""VT-FPN beside FPN: MobileNetV2, your own masks.

    DATA_ROOT=data/own IMAGE_SIZE=128 EPOCHS=30 CNN_WEIGHTS=mobilenet_v2.pth \
        python tools/analysis_tools/study.py configs/studies/own_masks_vt_fpn.py

Results: docs/visual-tokens.md.
"""

_base_ = "./own_masks.py"

base = "{{ fileDirname }}/../own_data/vt-fpn_mobilenetv2_own-masks.py"
_fpn = dict(_delete_=True, type="FPN", in_channels=[24, 32, 96, 320], out_channels=128, num_outs=4)
grid = dict(_delete_=True, row=dict(vt_fpn={}, fpn={"model.neck": _fpn}))
controls = ["fpn"]
