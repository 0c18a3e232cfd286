"""A start for the small style transfers: pictures are painted as they are, judged by pixels alone.

    CONTENTS=... STYLES=... TEST_CONTENTS=... TEST_STYLES=... VGG_WEIGHTS=vgg16.pth \
        python tools/train.py configs/style_transfer/adain_mobilenetv2-deit-tiny_small_start.py

A decoder learns to paint sooner without a loss network. Go on from its checkpoint with
`--cfg-options load_from=CHECKPOINT` and a config whose transfer is the same.
"""

_base_ = "./attention_mobilenetv2-deit-tiny_small.py"

model = dict(transfer="adain", loss_weights=dict(content=0, style=0, identity_feature=0))
