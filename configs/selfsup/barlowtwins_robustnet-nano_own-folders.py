"""Barlow Twins of both towers of RobustNet nano on your own images, at 80 px on a CPU.

    DATA_ROOT=data/own python tools/train.py \
        configs/selfsup/barlowtwins_robustnet-nano_own-folders.py

DATA_ROOT holds `train/NAME/*` and `val/NAME/*`; the names are read by the neighbours alone, which
say how well the towers tell them apart. IMAGE_SIZE (80) is the crop in pixels, EPOCHS (20), BATCH
(64) images a process. Results: docs/self-supervision.md.
"""

_base_ = "../_base_/barlowtwins_adamw.py"

from robustnet_mm.datasets import positive  # mmengine wants `_base_` first

size = positive("IMAGE_SIZE", "{{$IMAGE_SIZE:80}}")
epochs = positive("EPOCHS", "{{$EPOCHS:20}}")
batch = positive("BATCH", "{{$BATCH:64}}")

projector = dict(hid_channels=512, out_channels=512)
model = dict(
    type="robustnet_mm.TwoTowerBarlowTwins",
    backbone=dict(type="robustnet_mm.RobustNet", arch="nano"),
    projector=dict(_base_.projector, **projector),
)
_crop = dict(_base_.crop, scale=size)
_views = [[_crop, *view[1:]] for view in (_base_.first, _base_.second)]
own = dict(_scope_="mmpretrain", type="CustomDataset", data_root="{{$DATA_ROOT:data/own}}")
train_dataloader = dict(
    batch_size=batch,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(
        _delete_=True,
        **own,
        data_prefix="train",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="MultiView", num_views=[1, 1], transforms=_views),
            dict(type="PackInputs"),
        ],
    ),
)
plain = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=size, backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=size),
    dict(type="PackInputs"),
]
_asked = {
    name: dict(
        batch_size=64,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        collate_fn=dict(type="default_collate"),
        dataset=dict(**own, data_prefix=part, pipeline=plain),
    )
    for name, part in dict(memory="train", query="val").items()
}
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type="robustnet_mm.RepresentationHook", interval=100, **_asked),
]
train_cfg = dict(max_epochs=epochs)
warm_up = min(2, epochs / 2)
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
