"""What exchanges and neck are made of, in detection: `own_coco.py` with both forms.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_coco.py

Results: docs/evidence.md.
"""

_base_ = "./own_coco.py"

_none = {"model.backbone.direction": "none"}
_neck = {"model.neck.0.form": "gated"}
_form = "model.backbone.form"
_rate = "optim_wrapper.paramwise_cfg.fius"
_sqrt = {"model.neck.0.form": "zero_sqrt"}
_mean = {"model.neck.0.form": "zero_mean"}
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        none_gated={**_none, **_neck},
        gated={_form: "gated", **_neck},
        zero={},
        none_zero_mean={**_none, **_mean},
        zero_zero_mean=_mean,
        none_sqrt={**_none, **_sqrt},
        sqrt={"model.backbone.form": "zero_sqrt", **_sqrt},
        zero_fast={_rate: dict(lr_mult=5.0)},
        zero_gelu={_form: "zero_linear_layer_gelu"},
        zero_no_norm={_form: "zero_linear_none"},
        cnn=_base_.grid.row.cnn,
        vit=_base_.grid.row.vit,
    ),
)
controls = ["none", "none_gated", "gated", "cnn", "vit"]
