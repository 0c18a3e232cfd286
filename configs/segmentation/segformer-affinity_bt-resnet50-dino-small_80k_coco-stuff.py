"""The head of fusion 2 on Barlow Twins' ResNet-50 x DINO's ViT-S/16, COCO-Stuff, 80k iterations.

    tools/dist_train.sh \
        configs/segmentation/segformer-affinity_bt-resnet50-dino-small_80k_coco-stuff.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = "./segformer_bt-resnet50-dino-small_80k_coco-stuff.py"
model = dict(
    type="robustnet_mm.AttentiveEncoderDecoder",
    attention=dict(blocks=[-1]),
    decode_head=dict(type="robustnet_mm.AffinityFusionHead"),
)
