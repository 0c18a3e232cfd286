"""Wu et al. 2021 on COCO-Stuff (section 5.3): 90k iterations of 32 images, SGD 0.04, SyncBN.

The steps are those of Detectron2's Semantic FPN 1x, from which the paper starts; ResNet-50 as timm
has it, the images mmseg's crops of 512 x 512. A leaf adds the neck and the classes.
"""

_base_ = [
    "./segformer.py",
    "./panoptic_fpn.py",
    "mmseg::_base_/default_runtime.py",
    "mmseg::_base_/schedules/schedule_80k.py",
    "mmseg::_base_/datasets/coco-stuff164k.py",
    "./hooks.py",
]

widths = [256, 512, 1024, 2048]
sync_bn = "torch"
model = dict(
    backbone=dict(
        _delete_=True,
        type="robustnet_mm.TimmCNNTower",
        model_name="resnet50",
        init_cfg=dict(type="robustnet_mm.PretrainedTower", pretrained=True),
    ),
    decode_head=dict(**_base_.fpn_head, in_channels=[256] * 4, num_classes=171),
)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.04, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type="MultiStepLR", milestones=[60000, 80000], gamma=0.1, by_epoch=False),
]
train_cfg = dict(max_iters=90000, val_interval=10000)
default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=3),
)
auto_scale_lr = dict(enable=False, base_batch_size=32)
