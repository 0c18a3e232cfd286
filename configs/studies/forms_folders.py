"""What an exchange is made of: layers that start at zero, or zero gates behind random ones.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_folders.py

The data and the recipe of `own_folders.py`; the form was chosen on a split of its training images.
Results: docs/evidence.md.
"""

_base_ = "./own_folders.py"

seeds = list(range(5))
_rate = "optim_wrapper.paramwise_cfg.fius"
_form = "model.backbone.form"
grid = dict(
    _delete_=True,
    row=dict(
        none=_base_.grid.row.none,
        gated={_form: "gated", _rate: dict(lr_mult=5.0)},
        zero={},
        zero_slow={_rate: dict(lr_mult=0.2)},
        zero_fast={_rate: dict(lr_mult=5.0)},
        gated_slow={_form: "gated", _rate: dict(lr_mult=1.0)},
        gated_fast={_form: "gated", _rate: dict(lr_mult=25.0)},
        ungated={_form: "ungated", _rate: dict(lr_mult=5.0)},
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none", "gated", "zero"]
