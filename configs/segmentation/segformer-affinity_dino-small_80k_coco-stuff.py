"""The head of fusion 2 on DINO's ViT-S/16 alone, COCO-Stuff, 80k iterations.

    tools/dist_train.sh \
        configs/segmentation/segformer-affinity_dino-small_80k_coco-stuff.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = ["../_base_/segformer_80k_coco-stuff.py", "../_base_/bt-resnet50-dino-small.py"]
model = dict(
    type="robustnet_mm.AttentiveEncoderDecoder",
    attention=dict(blocks=[-1]),
    backbone=dict(_delete_=True, **_base_.vit),
    neck=_base_.pyramid,
    decode_head=dict(type="robustnet_mm.AffinityFusionHead", in_channels=[256] * 4),
)
