"""RobustNet nano as a classifier on DigitScenes' crops of 64 px: the demo's pretraining.

    OMP_NUM_THREADS=1 python tools/train.py configs/digit_scenes/robustnet-nano_5e_crops.py

`python tools/demo.py` makes the data and runs this and the detector.
"""

_base_ = ["mmpretrain::_base_/default_runtime.py", "../_base_/hooks.py"]

model = dict(
    _scope_="mmpretrain",  # also where this is inherited as `robustnet_mm::`
    type="ImageClassifier",
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True, num_classes=10
    ),
    backbone=dict(
        type="robustnet_mm.RobustNet",
        arch="nano",
        weave=[(0, 0), (2, 1), (4, 2), (6, 3)],  # an exchange in each stage: the ViT learns sooner
    ),
    head=dict(
        type="robustnet_mm.TwoTowerHead",
        num_classes=10,
        cnn=dict(in_channels=256),
        vit=dict(in_channels=96, pool="token"),
        loss=dict(type="mmpretrain.LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
)

crops = dict(_scope_="mmpretrain", type="CustomDataset", data_root="data/digit_scenes/")
loader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type="default_collate"),
)
train_dataloader = dict(
    **loader,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        **crops,
        data_prefix="crops/train",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="RandomCrop", crop_size=64, padding=6),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    **loader,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        **crops,
        data_prefix="crops/val",
        pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="robustnet_mm.TowerAccuracy", topk=(1,))
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
    constructor="robustnet_mm.TowerLayerDecayConstructor",
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.04, by_epoch=False, begin=0, end=200),
    dict(type="CosineAnnealingLR", eta_min=2e-6, begin=0, end=5, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=32)
randomness = dict(seed=0)

default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    logger=dict(interval=20),
    checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=1),
)
