"""Barlow Twins (Zbontar et al. 2021): two views of each image, 8192 channels, lambda 0.0051.

A leaf names the model, the images and the optimiser. Labels are not read by the loss.
"""

_base_ = ["mmpretrain::_base_/default_runtime.py", "./hooks.py"]

data_preprocessor = dict(
    type="SelfSupDataPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
projector = dict(
    type="NonLinearNeck",
    hid_channels=8192,
    out_channels=8192,
    num_layers=3,
    with_last_bn=False,
    norm_cfg=dict(type="BN1d"),
)
sync_bn = "torch"  # on several processes the BatchNorms are one
head = dict(
    type="LatentCrossCorrelationHead",
    in_channels=8192,
    loss=dict(type="CrossCorrelationLoss", lambd=0.0051),
)
model = dict(_scope_="mmpretrain")

size = 224
crop = dict(type="RandomResizedCrop", scale=size, interpolation="bicubic", backend="pillow")
shared = [
    crop,
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="RandomApply",
        transforms=[
            dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
        ],
        prob=0.8,
    ),
    dict(
        type="RandomGrayscale", prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989)
    ),
]
first = [
    *shared,
    dict(type="GaussianBlur", magnitude_range=(0.1, 2.0), magnitude_std="inf", prob=1.0),
]
second = [
    *shared,
    dict(type="GaussianBlur", magnitude_range=(0.1, 2.0), magnitude_std="inf", prob=0.1),
    dict(type="Solarize", thr=128, prob=0.2),
]
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="MultiView", num_views=[1, 1], transforms=[first, second]),
    dict(type="PackInputs"),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,  # a last batch of one image has no correlation
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        _scope_="mmpretrain",
        type="ImageNet",
        data_root="data/imagenet",
        split="train",
        pipeline=train_pipeline,
    ),
)
epochs = 300
train_cfg = dict(by_epoch=True, max_epochs=epochs)
auto_scale_lr = dict(enable=False, base_batch_size=2048)  # 256 on each of 8 GPUs
default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=3),
)
custom_hooks = [*_base_.custom_hooks, dict(type="robustnet_mm.RepresentationHook")]
