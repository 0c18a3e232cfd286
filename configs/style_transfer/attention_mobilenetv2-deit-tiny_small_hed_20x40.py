"""The small style transfer tested on 20 contents x 40 styles, StyTr2's protocol, by all metrics.

    CONTENTS=... STYLES=... TEST_CONTENTS=... TEST_STYLES=... VGG_WEIGHTS=vgg16_hed.pth \
        python tools/test.py \
        configs/style_transfer/attention_mobilenetv2-deit-tiny_small_hed_20x40.py CHECKPOINT

CHECKPOINT is what the config without `_20x40` trained. FID, KID and MiFID ask how like real
paintings the 800 pictures are, under both towers as published.
"""

_base_ = "./attention_mobilenetv2-deit-tiny_small_hed.py"

_towers = dict(cnn=_base_.cnn, vit=_base_.vit)
test_dataloader = dict(dataset=dict(limit=(20, 40)))
val_dataloader = test_dataloader
test_evaluator = [
    dict(_base_.test_evaluator, ssim=True),
    dict(
        type="robustnet_mm.LikenessMetric",
        networks={
            name: dict(type="robustnet_mm.TowerFeatures", tower=tower)
            for name, tower in _towers.items()
        },
        paintings=_base_.styles,
        size=128,
    ),
]
val_evaluator = _base_.test_evaluator
