"""What an exchange and the neck are made of, in detection: `own_coco.py` on a split of its own.

    python tools/dataset_converters/draw_subset.py <coco> data/choose_coco \
        train=train:210 val=train:70
    DATA_ROOT=data/choose_coco CNN_WEIGHTS=mobilenet_v2.pth \
        VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_coco.py

Chosen here, confirmed on other images: docs/evidence.md.
"""

_base_ = "./own_coco.py"

seeds = [0, 1, 2]
_none = {"model.backbone.direction": "none"}
_gated = {"model.neck.0.form": "gated"}
_scaled = {"model.backbone.form": "zero_linear_scaled", "model.neck.0.form": "zero_linear_scaled"}
_fius = "optim_wrapper.paramwise_cfg.fius"
_form = "model.backbone.form"
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        none_gated={**_none, **_gated},
        gated={_form: "gated", **_gated},
        zero={},
        none_scaled={**_none, "model.neck.0.form": "zero_linear_scaled"},
        scaled=_scaled,
        scaled_fast={**_scaled, _fius: dict(lr_mult=5.0)},
        zero_fast={_fius: dict(lr_mult=5.0)},
        zero_batch={_form: "zero_linear_batch"},
        zero_act={_form: "zero_linear_act"},
        cnn=_base_.grid.row.cnn,
    ),
)
ensembles = dict(_delete_=True)
controls = ["none", "none_gated", "gated", "cnn"]
