"""What exchanges and neck are made of, in detection: `own_coco.py` with both forms.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_coco.py

Not run yet with these rows: docs/evidence.md has what led to them.
"""

_base_ = "./own_coco.py"

seeds = [0, 1, 2]
_none = {"model.backbone.direction": "none"}
_gated = {"model.neck.0.form": "gated"}
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        none_gated={**_none, **_gated},
        gated={"model.backbone.form": "gated", **_gated},
        zero={},
        cnn=_base_.grid.row.cnn,
    ),
)
ensembles = dict(_delete_=True)
controls = ["none", "none_gated", "gated", "cnn"]
