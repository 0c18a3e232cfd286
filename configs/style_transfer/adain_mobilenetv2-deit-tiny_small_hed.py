"""The small style transfer with AdaIN in place of attention: the transfer learns nothing.

    CONTENTS=... STYLES=... TEST_CONTENTS=... TEST_STYLES=... VGG_WEIGHTS=vgg16_hed.pth \
        python tools/train.py configs/style_transfer/adain_mobilenetv2-deit-tiny_small_hed.py

Results: docs/style-transfer.md.
"""

_base_ = "./attention_mobilenetv2-deit-tiny_small_hed.py"

model = dict(transfer="adain")
