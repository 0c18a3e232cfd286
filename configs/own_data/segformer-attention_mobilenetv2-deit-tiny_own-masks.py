"""The same with fusion 1: what DeiT-Tiny's class token attends to gates the features.

    DATA_ROOT=data/own IMAGE_SIZE=256 python tools/train.py \
        configs/own_data/segformer-attention_mobilenetv2-deit-tiny_own-masks.py
"""

_base_ = "./segformer_mobilenetv2-deit-tiny_own-masks.py"
model = dict(
    type="robustnet_mm.AttentiveEncoderDecoder",
    attention=dict(blocks=[-1], asked="class"),
    decode_head=dict(type="robustnet_mm.AttentionFusionHead", num_maps=3),
)
