"""Fine-tune two small published networks, woven, on your own images (`train/NAME/*`, `val/NAME/*`).

    DATA_ROOT=data/own NUM_CLASSES=10 CNN_WEIGHTS=mobilenet_v2.pth \
        VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/train.py configs/own_data/mobilenetv2-deit-tiny_own-folders.py

MobileNetV2 (torchvision's file) x DeiT-Tiny; it runs on a laptop. Measured on 2000 images of 10
classes at 128 px, beside each tower alone: docs/evidence.md.
"""

_base_ = "./robustnet-tiny-patch16_own-folders.py"

start = dict(type="robustnet_mm.PretrainedTower", allow_missing=[r"model\.(classifier|head)\."])
cnn_start = dict(**start, checkpoint="{{$CNN_WEIGHTS:mobilenet_v2.pth}}")
vit_start = dict(**start, checkpoint="{{$VIT_WEIGHTS:deit_tiny_patch16_224.pth}}")
model = dict(
    backbone=dict(
        _delete_=True,
        type="robustnet_mm.RobustNet",
        cnn=dict(
            type="robustnet_mm.TimmCNNTower",
            model_name="mobilenetv2_100",
            norm_eval=True,  # batches are small
            channels_last=True,
            init_cfg=cnn_start,
        ),
        vit=dict(
            type="robustnet_mm.ViTTower", model_name="deit_tiny_patch16_224", init_cfg=vit_start
        ),
        weave="even",
    ),
    head=dict(
        cnn=dict(_delete_=True, model_name="mobilenetv2_100", init_cfg=cnn_start),
        vit=dict(_delete_=True, model_name="deit_tiny_patch16_224", init_cfg=vit_start),
    ),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=224, crop_ratio_range=(0.6, 1.0)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
rates = dict(cnn=dict(lr_mult=0.3), vit=dict(lr_mult=0.1, decay_rate=1.0))  # fresh parts: 1
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=rates)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-2, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-6, begin=1, end=10, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=10)
