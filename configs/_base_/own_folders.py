"""Your own images in folders for mmpretrain, one folder a class (`train/NAME/*`, `val/NAME/*`).

DATA_ROOT (data/own) holds them; the folders' names are the classes. IMAGE_SIZE (224) is the crop
in pixels, EPOCHS (10), BATCH (32) images a process.
"""

_base_ = "./imagenet_20e.py"

from robustnet_mm.datasets import folder_classes, positive  # mmengine wants `_base_` first

data_root = "{{$DATA_ROOT:data/own}}"
classes = folder_classes(f"{data_root}/train")
size = positive("IMAGE_SIZE", "{{$IMAGE_SIZE:224}}")
epochs = positive("EPOCHS", "{{$EPOCHS:10}}")
batch = positive("BATCH", "{{$BATCH:32}}")

data_preprocessor = dict(num_classes=len(classes))
model = dict(head=dict(num_classes=len(classes)), train_cfg=None)  # no mixup
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=size, crop_ratio_range=(0.6, 1.0)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=size * 8 // 7, backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=size),
    dict(type="PackInputs"),
]
own = dict(
    _delete_=True,
    _scope_="mmpretrain",
    type="CustomDataset",
    data_root=data_root,
    metainfo=dict(classes=classes),
)
train_dataloader = dict(
    batch_size=batch,
    num_workers=2,
    sampler=dict(_delete_=True, type="DefaultSampler", shuffle=True),
    dataset=dict(**own, data_prefix="train", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=batch,
    num_workers=2,
    dataset=dict(**own, data_prefix="val", pipeline=test_pipeline),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=epochs)
rates = dict(cnn=dict(lr_mult=0.3), vit=dict(lr_mult=0.1))  # fresh parts: 1
optim_wrapper = dict(paramwise_cfg=rates, clip_grad=dict(max_norm=5.0))
warm_up = min(1, epochs / 2)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-2, begin=0, end=warm_up, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        eta_min=1e-6,
        begin=warm_up,
        end=epochs,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=batch)
