"""Do exchanges pay where the ViT is frozen, as the paper's authors had it? Else `own_folders.py`.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders_frozen.py --processes 2

The heads of `none` are each tower alone: nothing but the norm to which gradients are clipped is
common to them. Results: docs/evidence.md.
"""

_base_ = "./own_folders.py"

_frozen = {"model.backbone.vit.frozen_stages": 12}
grid = dict(
    _delete_=True,
    row=dict(
        none={**_base_.grid.row.none, **_frozen},
        both=_frozen,
        cnn_to_vit={**_frozen, "model.backbone.direction": "cnn_to_vit"},
        vit_to_cnn={**_frozen, "model.backbone.direction": "vit_to_cnn"},
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none", "both"]
