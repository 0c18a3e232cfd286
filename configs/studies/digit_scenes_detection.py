"""Does weaving pay in detection? MobileNetV2 x DeiT-Tiny, Mask R-CNN, DigitScenes, 4 epochs.

    CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/digit_scenes_detection.py

`python tools/demo.py` makes the data. Results: docs/evidence.md.
"""

base = "{{ fileDirname }}/../digit_scenes/mask-rcnn_mobilenetv2-deit-tiny_digit-scenes.py"
seeds = [0, 1, 2]
metric = "coco/bbox_mAP"
common = {
    "train_cfg.max_epochs": 4,
    "train_cfg.val_interval": 2,
    "param_scheduler.1.end": 4,
}
_fpn = dict(type="mmdet.FPN", in_channels=[24, 32, 96, 320], out_channels=64, num_outs=4)
_pyramid = {"model.backbone.out_type": "pyramid", "model.neck": [_fpn]}
_none = {"model.backbone.direction": "none"}
_cnn = dict(
    type="robustnet_mm.TimmCNNTower",
    model_name="mobilenetv2_100",
    norm_eval=True,
    channels_last=True,
    init_cfg=dict(
        type="robustnet_mm.PretrainedTower", checkpoint="{{$CNN_WEIGHTS:mobilenet_v2.pth}}"
    ),
)
_vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="deit_tiny_patch16_224",
    init_cfg=dict(
        type="robustnet_mm.PretrainedTower", checkpoint="{{$VIT_WEIGHTS:deit_tiny_patch16_224.pth}}"
    ),
)
_vit_neck = [dict(type="robustnet_mm.SimplePyramid", embed_dims=192, out_channels=64, num_outs=4)]
grid = dict(
    row=dict(
        none=_none,
        both={},
        both_gates_fast={
            "model.backbone.form": "gated",
            "optim_wrapper.paramwise_cfg.gates": dict(lr_mult=5.0),
        },
        both_no_neck=_pyramid,
        vit_to_cnn_no_neck={**_pyramid, "model.backbone.direction": "vit_to_cnn"},
        cnn={"model.backbone": dict(_delete_=True, **_cnn), "model.neck": [_fpn]},
        vit={"model.backbone": dict(_delete_=True, **_vit), "model.neck": _vit_neck},
    )
)
ensembles = dict(united=("cnn", "vit"))
controls = ["cnn", "vit", "united", "none"]
