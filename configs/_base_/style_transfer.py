"""Style transfer: pairs of pictures from two folders, trained by iterations, tested on all pairs.

`contents`, `styles` and the loss network are environment variables: docs/style-transfer.md.
"""

_base_ = "./hooks.py"

default_scope = "mmengine"
contents = "{{$CONTENTS:data/contents}}"
styles = "{{$STYLES:data/styles}}"
test_contents = "{{$TEST_CONTENTS:data/test_contents}}"
test_styles = "{{$TEST_STYLES:data/test_styles}}"

# the loss looks through VGG-16; ImageNet's weights of torchvision by default
vgg = dict(
    type="robustnet_mm.VGGFeatures",
    arch="vgg16",
    checkpoint="{{$VGG_WEIGHTS:torchvision}}",
)
loss = dict(
    type="robustnet_mm.PerceptualLoss",
    network=vgg,
    content_layers=["relu4_1", "relu5_1"],
    style_layers=["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"],
)
unit = dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0])  # pictures in 0..1
model = dict(
    type="robustnet_mm.RobustStyleTransfer",
    backbone=dict(type="robustnet_mm.RobustNet", data_norm=unit),
    loss=loss,
    data_preprocessor=dict(type="robustnet_mm.StylePreprocessor", **unit, bgr_to_rgb=True),
)

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="robustnet_mm.DrawSampler"),
    dataset=dict(
        type="robustnet_mm.ContentStyleDataset",
        content=contents,
        style=styles,
        size=512,
        crop=256,
        on_error="skip",
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="robustnet_mm.ContentStyleDataset",
        content=test_contents,
        style=test_styles,
        pairs="product",
        size=512,
        crop=None,
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="robustnet_mm.StyleMetric", name="vgg16", loss=loss)
val_evaluator = test_evaluator
train_cfg = dict(type="IterBasedTrainLoop", max_iters=160000, val_interval=160000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-4))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=1000),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=False, begin=1000, end=160000),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
randomness = dict(seed=0)
env_cfg = dict(dist_cfg=dict(backend="nccl"))
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(
        type="robustnet_mm.WholeCheckpointHook", by_epoch=False, interval=5000, max_keep_ckpts=1
    ),
)
snapshots = dict(type="robustnet_mm.StyleSnapshotHook", content=test_contents, style=test_styles)
custom_hooks = [*_base_.custom_hooks, snapshots]
