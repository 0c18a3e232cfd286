"""SegFormer's head on Barlow Twins' Swin-T, COCO-Stuff, 80k iterations: without attention.

    tools/dist_train.sh \
        configs/segmentation/segformer_bt-swin-tiny_80k_coco-stuff.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = ["../_base_/segformer_80k_coco-stuff.py", "../_base_/bt-swin-tiny.py"]
model = dict(backbone=_base_.backbone, decode_head=dict(in_channels=_base_.widths))
