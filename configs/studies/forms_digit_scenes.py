"""What exchanges and neck are made of, on generated scenes: `digit_scenes_detection.py`.

    CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_digit_scenes.py

`python tools/demo.py` makes the data. Results: docs/evidence.md.
"""

_base_ = "./digit_scenes_detection.py"

_none = {"model.backbone.direction": "none"}
_neck = {"model.neck.0.form": "gated"}
_sqrt = {"model.neck.0.form": "zero_sqrt"}
_mean = {"model.neck.0.form": "zero_mean"}
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        none_gated={**_none, **_neck},
        gated={"model.backbone.form": "gated", **_neck},
        zero={},
        none_zero_mean={**_none, **_mean},
        zero_zero_mean=_mean,
        none_sqrt={**_none, **_sqrt},
        sqrt={"model.backbone.form": "zero_sqrt", **_sqrt},
        cnn=_base_.grid.row.cnn,
    ),
)
ensembles = dict(_delete_=True)
controls = ["none", "none_gated", "gated", "cnn"]
