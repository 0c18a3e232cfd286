"""Style transfer on a CPU: MobileNetV2 x DeiT-Tiny, 128 px, 4000 iterations of 4 pairs.

    CONTENTS=photographs STYLES=paintings TEST_CONTENTS=... TEST_STYLES=... VGG_WEIGHTS=vgg16.pth \
        python tools/train.py configs/style_transfer/attention_mobilenetv2-deit-tiny_small.py

Not trained yet to the end by this project.
"""

_base_ = ["../_base_/style_transfer.py", "../_base_/own_mobilenetv2-deit-tiny.py"]

model = dict(
    backbone=dict(_base_.towers, data_norm=_base_.unit),
    width=128,
    stride=4,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(size=144, crop=128),
)
test_dataloader = dict(num_workers=0, dataset=dict(size=256))
val_dataloader = test_dataloader
train_cfg = dict(max_iters=4000, val_interval=4000)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=False, begin=100, end=4000),
]
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=4)
