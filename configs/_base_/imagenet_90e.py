"""ImageNet-1k in the 90 epochs of Wu et al. 2021 (section 5.1), 256 images a step (8 x 32).

SGD from 0.1, a tenth of it every 30 epochs; random crops and flips, as is usual in mmpretrain.
"""

_base_ = [
    "mmpretrain::_base_/datasets/imagenet_bs32.py",
    "mmpretrain::_base_/default_runtime.py",
    "./hooks.py",
]

model = dict(_scope_="mmpretrain", type="ImageClassifier")  # a leaf adds the network
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=4e-5),
)
param_scheduler = [dict(type="MultiStepLR", milestones=[30, 60], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=256)
default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    checkpoint=dict(
        type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=3, save_best="accuracy/top1"
    ),
)
