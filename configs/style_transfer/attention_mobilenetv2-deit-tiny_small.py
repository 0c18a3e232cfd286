"""Style transfer on a CPU: MobileNetV2 x DeiT-Tiny, 128 px, 1000 iterations of 2 pairs.

    CONTENTS=photographs STYLES=paintings TEST_CONTENTS=... TEST_STYLES=... VGG_WEIGHTS=vgg16.pth \
        python tools/train.py configs/style_transfer/attention_mobilenetv2-deit-tiny_small.py

A CPU with AMX takes less time with `--cfg-options model.loss.bfloat16=True`.
"""

_base_ = ["../_base_/style_transfer.py", "../_base_/own_mobilenetv2-deit-tiny.py"]

model = dict(
    backbone=dict(_base_.towers, data_norm=_base_.unit),
    width=128,
    stride=4,
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(size=144, crop=128, recolor=True),
)
test_dataloader = dict(num_workers=0, dataset=dict(size=128))
val_dataloader = test_dataloader
train_cfg = dict(max_iters=1000, val_interval=1000)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=False, begin=100, end=1000),
]
optim_wrapper = dict(
    constructor="robustnet_mm.TowerLayerDecayConstructor",
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(cnn=dict(lr_mult=0.1), vit=dict(lr_mult=0.1)),
)
auto_scale_lr = dict(base_batch_size=2)
