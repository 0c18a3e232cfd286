"""What exchanges and neck are made of, in detection: `own_coco.py` with both forms.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_coco.py

Results: docs/evidence.md.
"""

_base_ = "./own_coco.py"

seeds = [0, 1, 2]
_none = {"model.backbone.direction": "none"}
_neck = {"model.neck.0.form": "gated"}
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        none_gated={**_none, **_neck},
        gated={"model.backbone.form": "gated", **_neck},
        zero={},
        zero_fast={"optim_wrapper.paramwise_cfg.fius": dict(lr_mult=5.0)},
        cnn=_base_.grid.row.cnn,
        vit=_base_.grid.row.vit,
    ),
)
controls = ["none", "none_gated", "gated", "cnn", "vit"]
