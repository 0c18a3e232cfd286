"""The head of fusion 2 on Barlow Twins' Swin-T, COCO-Stuff, 80k iterations.

    tools/dist_train.sh \
        configs/segmentation/segformer-affinity_bt-swin-tiny_80k_coco-stuff.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = ["../_base_/segformer_80k_coco-stuff.py", "../_base_/bt-swin-tiny.py"]
model = dict(
    type="robustnet_mm.AttentiveEncoderDecoder",
    attention=_base_.attention,
    backbone=_base_.backbone,
    decode_head=dict(type="robustnet_mm.AffinityFusionHead", in_channels=_base_.widths),
)
