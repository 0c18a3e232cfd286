"""Your own masks for mmseg: `images/{train,val}/*`, `labels/{train,val}/*.png`, `classes.txt`.

DATA_ROOT (data/own) holds them; a label image has one channel, the number of a line of classes.txt
in each pixel, counted from 0, and 255 where there is no class. IMAGE_SIZE (512) is the shorter side
in pixels and that of the training's crops, EPOCHS (40), BATCH (4) images a process.
"""

_base_ = ["./segformer.py", "mmseg::_base_/default_runtime.py", "./hooks.py"]

from robustnet_mm.datasets import listed_classes, palette, positive  # mmengine wants `_base_` first

data_root = "{{$DATA_ROOT:data/own}}/"
classes = listed_classes(data_root + "classes.txt")
size = positive("IMAGE_SIZE", "{{$IMAGE_SIZE:512}}")
epochs = positive("EPOCHS", "{{$EPOCHS:40}}")
batch = positive("BATCH", "{{$BATCH:4}}")

labels = dict(type="robustnet_mm.LoadLabels", num_classes=len(classes))
train_pipeline = [
    dict(type="LoadImageFromFile"),
    labels,
    dict(
        type="RandomResize",
        scale=(4 * size, size),
        ratio_range=(0.75, 1.5),
        keep_ratio=True,
    ),
    dict(type="RandomCrop", crop_size=(size, size), cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(4 * size, size), keep_ratio=True),
    labels,
    dict(type="PackSegInputs"),
]
own = dict(
    type="robustnet_mm.ImagesAndLabels",
    data_root=data_root,
    metainfo=dict(classes=classes, palette=palette(classes)),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        **own,
        data_prefix=dict(img_path="images/train", seg_map_path="labels/train"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        **own,
        data_prefix=dict(img_path="images/val", seg_map_path="labels/val"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

model = dict(decode_head=dict(num_classes=len(classes)), data_preprocessor=dict(size=(size, size)))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor="robustnet_mm.TowerLayerDecayConstructor",
    paramwise_cfg=dict(cnn=dict(lr_mult=0.2), vit=dict(lr_mult=0.1)),  # fresh parts: 1
)
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=max(1, epochs // 5))
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
warm_up = min(1, epochs / 2)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-2, begin=0, end=warm_up, convert_to_iter_based=True),
    dict(
        type="PolyLR",
        power=0.9,
        eta_min=1e-6,
        begin=warm_up,
        end=epochs,
        convert_to_iter_based=True,
    ),
]
log_processor = dict(by_epoch=True)
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=10),
    timer=dict(type="IterTimerHook"),
    param_scheduler=dict(type="ParamSchedulerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=3, save_best="mIoU"),
)
auto_scale_lr = dict(enable=False, base_batch_size=batch)
