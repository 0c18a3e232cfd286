"""Does weaving pay where the ViT is frozen, as the paper's authors had it? Else `own_folders.py`.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders_frozen.py --processes 2

Results on 2000 images of CIFAR-10: docs/evidence.md.
"""

_base_ = "./own_folders.py"

seeds = list(range(10))
_frozen = {"model.backbone.vit.frozen_stages": 12}
_none = {**_base_.grid.row.none, **_frozen}
_vit = {**_base_.grid.row.vit, **_frozen}
_rates = "optim_wrapper.paramwise_cfg"
_head = f"{_rates}.others"
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        both=_frozen,
        both_gates_fast={
            **_frozen,
            "model.backbone.form": "gated",
            f"{_rates}.fius.lr_mult": 5.0,
            f"{_rates}.gates": dict(lr_mult=20.0),
        },
        both_fius_slow={**_frozen, f"{_rates}.fius.lr_mult": 0.2},
        both_projections_slow={
            **_frozen,
            "model.backbone.form": "gated",
            f"{_rates}.gates": dict(lr_mult=5.0),
        },
        vit_to_cnn={**_frozen, "model.backbone.direction": "vit_to_cnn"},
        cnn_to_vit={**_frozen, "model.backbone.direction": "cnn_to_vit"},
        cnn=_base_.grid.row.cnn,
        vit=_vit,
        none_head_fast={**_none, _head: dict(lr_mult=5.0)},
        both_head_fast={**_frozen, _head: dict(lr_mult=5.0)},
        vit_head_fast={**_vit, _head: dict(lr_mult=5.0)},
    ),
)
_vit_head = "accuracy/top1_vit"
reads = dict(_delete_=True, cnn="accuracy/top1_cnn", vit=_vit_head, vit_head_fast=_vit_head)
ensembles = dict(
    _delete_=True, logit_sum=("cnn", "vit"), logit_sum_head_fast=("cnn", "vit_head_fast")
)
controls = ["cnn", "vit", "vit_head_fast", "logit_sum", "logit_sum_head_fast", "none"]
