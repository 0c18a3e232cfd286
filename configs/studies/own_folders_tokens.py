"""Exchanges by way of visual tokens beside those that pool: MobileNetV2 x DeiT-Tiny, small images.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders_tokens.py

The data and the recipe of `own_folders.py`. Results: docs/visual-tokens.md.
"""

_base_ = "./own_folders.py"

seeds = [0, 1, 2]
grid = dict(
    _delete_=True,
    row=dict(
        none=_base_.grid.row.none,
        pooling={},
        tokens={"model.backbone.form": "tokens"},
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none", "pooling"]
