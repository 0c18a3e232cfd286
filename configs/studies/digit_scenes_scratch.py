"""Does weaving pay in detection from scratch? RobustNet nano, Mask R-CNN, DigitScenes, 24 epochs.

    python tools/analysis_tools/study.py configs/studies/digit_scenes_scratch.py --processes 2

`python tools/demo.py` makes the data. Not run by this project yet: docs/evidence.md.
"""

base = "../digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py"
seeds = [0, 1, 2]
metric = "coco/bbox_mAP"
common = {
    "model.backbone.init_cfg": None,
    "train_cfg.max_epochs": 24,
    "train_cfg.val_interval": 6,
    "param_scheduler.1.end": 24,
}
_fpn = dict(type="mmdet.FPN", in_channels=[32, 64, 128, 256], out_channels=64, num_outs=4)
_cnn = dict(_delete_=True, type="robustnet_mm.ConvTower", arch="nano")
_vit = dict(
    _delete_=True,
    type="robustnet_mm.ViTTower",
    model_name="deit_tiny_patch16_224",
    model_args=dict(depth=4, embed_dim=96, num_heads=3),
)
_vit_neck = [
    dict(type="robustnet_mm.SimplePyramid", embed_dims=96),
    {**_fpn, "in_channels": [96] * 4},
]
grid = dict(
    row=dict(
        none={"model.backbone.direction": "none"},
        both={},
        both_gates_fast={"optim_wrapper.paramwise_cfg": dict(gates=dict(lr_mult=30.0))},
        cnn={"model.backbone": _cnn, "model.neck": [_fpn]},
        vit={"model.backbone": _vit, "model.neck": _vit_neck},
    )
)
ensembles = dict(united=("cnn", "vit"))
controls = ["cnn", "united", "none"]
