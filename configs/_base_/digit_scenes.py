"""DigitScenes' scenes for mmdet (192 px, batch 8) and a schedule of 12 epochs (600 iterations)."""

_base_ = ["mmdet::_base_/default_runtime.py", "./hooks.py"]

digits = dict(
    _scope_="mmdet",  # also where this is inherited as `robustnet_mm::`
    type="CocoDataset",
    data_root="data/digit_scenes/",
    metainfo=dict(classes=tuple("0123456789")),
    backend_args=None,
)
loader = dict(batch_size=8, num_workers=0, persistent_workers=False)
train_dataloader = dict(
    **loader,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        **digits,
        ann_file="annotations/instances_train.json",
        data_prefix=dict(img="scenes/train/"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="PhotoMetricDistortion"),
            dict(type="RandomResize", scale=(192, 192), ratio_range=(0.8, 1.25), keep_ratio=True),
            dict(type="RandomCrop", crop_size=(192, 192)),
            dict(type="PackDetInputs"),  # no flip: a mirrored digit is another sign
        ],
    ),
)
val_dataloader = dict(
    **loader,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        **digits,
        ann_file="annotations/instances_val.json",
        data_prefix=dict(img="scenes/val/"),
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(192, 192), keep_ratio=True),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
            ),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    _scope_="mmdet",
    type="CocoMetric",
    ann_file="data/digit_scenes/annotations/instances_val.json",
    metric=["bbox", "segm"],
)
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
    constructor="robustnet_mm.TowerLayerDecayConstructor",
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.02, begin=0, end=12, convert_to_iter_based=True),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=12, val_interval=4)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=8)
randomness = dict(seed=0)

default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    logger=dict(interval=10),
    checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=1),
)
