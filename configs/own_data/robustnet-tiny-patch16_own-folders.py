"""Fine-tune a classifier on your own images, one folder per class (`train/NAME/*`, `val/NAME/*`).

    DATA_ROOT=data/own NUM_CLASSES=10 VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/train.py configs/own_data/robustnet-tiny-patch16_own-folders.py

Measured on 1000 photographs of 10 classes: docs/results.md.
"""

_base_ = "../imagenet/robustnet-tiny-patch16_20e_in1k.py"

num_classes = int("{{$NUM_CLASSES:10}}")
data_root = "{{$DATA_ROOT:data/own}}"
data_preprocessor = dict(num_classes=num_classes)
model = dict(
    backbone=dict(
        vit=dict(
            model_name="deit_tiny_patch16_224",
            init_cfg=dict(
                type="robustnet_mm.PretrainedTower",
                checkpoint="{{$VIT_WEIGHTS:deit_tiny_patch16_224.pth}}",
            ),
        )
    ),
    head=dict(num_classes=num_classes),
    train_cfg=None,  # no mixup
)
own = dict(_delete_=True, _scope_="mmpretrain", type="CustomDataset", data_root=data_root)
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    sampler=dict(_delete_=True, type="DefaultSampler", shuffle=True),
    dataset=dict(**own, data_prefix="train", pipeline=_base_.train_pipeline),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    dataset=dict(**own, data_prefix="val", pipeline=_base_.test_pipeline),
)
test_dataloader = val_dataloader
optim_wrapper = dict(paramwise_cfg=dict(vit=dict(decay_rate=0.7)), clip_grad=dict(max_norm=5.0))
auto_scale_lr = dict(base_batch_size=32)
