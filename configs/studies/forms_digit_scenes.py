"""What exchanges and neck are made of, in detection of generated scenes, 4 epochs.

    CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_digit_scenes.py

`python tools/demo.py` makes the data. Results: docs/evidence.md.
"""

_base_ = "../_base_/study_towers.py"

base = "{{ fileDirname }}/../digit_scenes/mask-rcnn_mobilenetv2-deit-tiny_digit-scenes.py"
seeds = [0, 1, 2]
metric = "coco/bbox_mAP"
common = {
    "train_cfg.max_epochs": 4,
    "train_cfg.val_interval": 2,
    "param_scheduler.1.end": 4,
}
_none = _base_._none
_neck = {"model.neck.0.form": "gated"}
grid = dict(
    row=dict(
        none=_none,
        none_gated={**_none, **_neck},
        gated={"model.backbone.form": "gated", **_neck},
        zero={},
        cnn=_base_._cnn_alone,
    ),
)
controls = ["none", "none_gated", "gated", "cnn"]
