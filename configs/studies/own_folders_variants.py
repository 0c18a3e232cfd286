"""Which part of the weave does what? `own_folders.py` with one thing changed at a time, 3 seeds.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders_variants.py --processes 2

The recipe is that of `own_folders.py`; no variant has one of its own.
"""

_base_ = "./own_folders.py"

seeds = [0, 1, 2]
_none, _both = _base_.grid.row.none, _base_.grid.row.both
_direction, _rates = "model.backbone.direction", "optim_wrapper.paramwise_cfg"
_frozen = {"model.backbone.vit.frozen_stages": 12}
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        both=_both,
        vit_to_cnn={_direction: "vit_to_cnn"},
        cnn_to_vit={_direction: "cnn_to_vit"},
        ungated={"model.backbone.form": "ungated", f"{_rates}.fius.lr_mult": 5.0},
        attention={"model.backbone.fuse": "attention"},
        weave_paper={"model.backbone.weave": "paper"},
        drop_exchange={"model.backbone.drop_exchange": 0.5},
        sum_loss={"model.head.loss_weights": (1, 1, 2)},
        none_sum_loss={**_none, "model.head.loss_weights": (1, 1, 2)},
        vit_frozen=_frozen,
        none_vit_frozen={**_none, **_frozen},
        gates_fast={
            "model.backbone.form": "gated",
            f"{_rates}.fius.lr_mult": 5.0,
            f"{_rates}.gates": dict(lr_mult=50.0),
        },
        fius_slow={f"{_rates}.fius.lr_mult": 0.2},
        fius_fast={f"{_rates}.fius.lr_mult": 5.0},
        layer_decay={f"{_rates}.cnn.decay_rate": 0.9, f"{_rates}.vit.decay_rate": 0.8},
        drop_path={"model.backbone.vit.drop_path_rate": 0.1},
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none", "both"]
