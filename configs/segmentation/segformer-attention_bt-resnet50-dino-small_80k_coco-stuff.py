"""The head of fusion 1 on Barlow Twins' ResNet-50 x DINO's ViT-S/16, COCO-Stuff, 80k iterations.

    tools/dist_train.sh \
        configs/segmentation/segformer-attention_bt-resnet50-dino-small_80k_coco-stuff.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = "./segformer_bt-resnet50-dino-small_80k_coco-stuff.py"
model = dict(
    type="robustnet_mm.AttentiveEncoderDecoder",
    attention=dict(blocks=[-1], asked="class"),
    decode_head=dict(type="robustnet_mm.AttentionFusionHead", num_maps=_base_.num_maps),
)
