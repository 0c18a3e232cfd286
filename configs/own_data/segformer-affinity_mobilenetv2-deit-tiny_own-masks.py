"""The same with fusion 2: features are spread along DeiT-Tiny's attention between patches.

    DATA_ROOT=data/own IMAGE_SIZE=256 python tools/train.py \
        configs/own_data/segformer-affinity_mobilenetv2-deit-tiny_own-masks.py
"""

_base_ = "./segformer_mobilenetv2-deit-tiny_own-masks.py"
model = dict(
    type="robustnet_mm.AttentiveEncoderDecoder",
    attention=dict(blocks=[-1]),
    decode_head=dict(type="robustnet_mm.AffinityFusionHead"),
)
