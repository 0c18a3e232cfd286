"""SegFormer's head on ConvNeXt-T x DINOv2 ViT-S/14, ADE20K (150 classes), 80k iterations.

    tools/dist_train.sh \
        configs/segmentation/segformer_convnext-tiny-dinov2-small_80k_ade20k.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = [
    "../_base_/segformer_80k.py",
    "mmseg::_base_/datasets/ade20k.py",
    "../_base_/convnext-tiny-dinov2-small.py",
]
train_dataloader = dict(batch_size=2)
model = dict(
    backbone=_base_.detector,
    neck=_base_.tower_fpn[0],
    decode_head=dict(in_channels=_base_.widths, num_classes=150),
)
