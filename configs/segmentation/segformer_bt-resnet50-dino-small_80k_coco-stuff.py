"""SegFormer's head on Barlow Twins' ResNet-50 x DINO's ViT-S/16, COCO-Stuff, 80k iterations.

    tools/dist_train.sh \
        configs/segmentation/segformer_bt-resnet50-dino-small_80k_coco-stuff.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = ["../_base_/segformer_80k_coco-stuff.py", "../_base_/bt-resnet50-dino-small.py"]
model = dict(backbone=_base_.both, neck=_base_.neck, decode_head=dict(in_channels=_base_.widths))
