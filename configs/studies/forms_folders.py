"""What an exchange is made of: layers that start at zero, or zero gates behind random ones.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_folders.py

The data and the recipe of `own_folders.py`; the form was chosen on a split of its training images.
One seed so far: docs/evidence.md.
"""

_base_ = "./own_folders.py"

seeds = [0, 1, 2]
_none = _base_.grid.row.none
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        gated={"model.backbone.form": "gated"},
        zero={},
        zero_slow={"optim_wrapper.paramwise_cfg.fius": dict(lr_mult=1.0)},
        ungated={"model.backbone.form": "ungated"},
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none", "gated"]
