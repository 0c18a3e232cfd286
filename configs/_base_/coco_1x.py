"""COCO for 12 epochs on mmdet: AdamW 1e-4, layer decay per tower, steps at 8 and 11."""

_base_ = [
    "mmdet::_base_/schedules/schedule_1x.py",
    "mmdet::_base_/default_runtime.py",
    "./hooks.py",
]

optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=1e-4),
    constructor="robustnet_mm.TowerLayerDecayConstructor",
    paramwise_cfg=dict(cnn=dict(decay_rate=0.9), vit=dict(decay_rate=0.7)),  # not tuned
    clip_grad=dict(max_norm=10.0),
)
default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=3),
)
