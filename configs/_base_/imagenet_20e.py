"""The paper's ImageNet-1k recipe on mmpretrain (section 5): 20 epochs, DeiT augmentation."""

_base_ = [
    "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py",  # RandAugment 9-0.5, erasing 0.25
    "mmpretrain::_base_/default_runtime.py",
    "./hooks.py",
]

model = dict(
    _scope_="mmpretrain",  # also where this is inherited as `robustnet_mm::`
    type="ImageClassifier",
    backbone=dict(type="robustnet_mm.RobustNet", vit=dict(drop_path_rate=0.1)),
    head=dict(
        type="robustnet_mm.TwoTowerHead",  # mean of the two losses, sum of the two logits
        num_classes=1000,
        loss=dict(type="mmpretrain.LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)

loader = dict(
    batch_size=180,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type="default_collate"),
)
train_dataloader = dict(**loader, sampler=dict(type="RepeatAugSampler", shuffle=True))
val_dataloader = loader
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="robustnet_mm.TowerAccuracy", topk=(1, 5))
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.05),
    constructor="robustnet_mm.TowerLayerDecayConstructor",
    paramwise_cfg=dict(cnn=dict(decay_rate=1.0), vit=dict(decay_rate=1.0)),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, begin=0, end=3, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=3, end=20, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=1440)  # 180 on each of 8 GPUs (assumed)

default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    checkpoint=dict(
        type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=3, save_best="accuracy/top1"
    ),
)
