"""SegFormer's schedule (Xie et al. 2021) for 80,000 iterations: AdamW 6e-5, the head at 10 times.

16 images a step, on 8 GPUs 2 each. A leaf adds backbone and data.
"""

_base_ = [
    "./segformer.py",
    "mmseg::_base_/default_runtime.py",
    "mmseg::_base_/schedules/schedule_80k.py",
    "./hooks.py",
]

optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0)), norm_decay_mult=0.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", eta_min=0.0, power=1.0, begin=1500, end=80000, by_epoch=False),
]
model = dict(decode_head=dict(norm_cfg=dict(type="SyncBN")))
default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=3),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
