"""SegFormer's head on Barlow Twins' ResNet-50, COCO-Stuff, 80k iterations: without attention.

    tools/dist_train.sh \
        configs/segmentation/segformer_bt-resnet50_80k_coco-stuff.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = ["../_base_/segformer_80k_coco-stuff.py", "../_base_/bt-resnet50-dino-small.py"]
model = dict(
    backbone=dict(_delete_=True, **_base_.cnn),
    decode_head=dict(in_channels=_base_.widths),
)
