"""Two towers that stay different: learned predictions, stopped gradients, directions by depth.

    DATA_ROOT=data/choose CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders_joint.py

The recipe of `own_folders.py`, both towers trained; what is chosen here, on a split of its training
images, is confirmed on its test images. The side by side control (`none`) gets the same freedom.
Results: docs/evidence.md.
"""

_base_ = "./own_folders.py"

seeds = [0, 1]
_none = _base_.grid.row.none
_losses = "model.head.loss_weights"
_class = {"model.head.combine": "class_weights", _losses: (1, 1, 1)}
_fused = {"model.head.combine": "fused", _losses: (1, 1, 1)}
_apart = {"model.head.apart": 4.0}
_early_late = ["cnn_to_vit"] * 4 + ["vit_to_cnn"] * 4
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        both={},
        none_class={**_none, **_class},
        both_class=_class,
        none_fused={**_none, **_fused},
        both_fused=_fused,
        none_apart={**_none, **_apart},
        both_apart=_apart,
        detached={"model.backbone.detach_exchanges": True},
        early_late={"model.backbone.direction": _early_late},
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none", "none_class", "none_fused", "none_apart", "both"]
