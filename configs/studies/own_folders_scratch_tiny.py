"""`own_folders_scratch.py` with RobustNet tiny and 6 epochs: does a wider network change it?

    DATA_ROOT=data/own python tools/analysis_tools/study.py \
        configs/studies/own_folders_scratch_tiny.py --processes 2

Images in `train/NAME/*` and `val/NAME/*`. Results on Imagenette: docs/evidence.md.
"""

_base_ = "./own_folders_scratch.py"

seeds = [0, 1, 2]
common = {
    "model.backbone": dict(arch="tiny-patch16", weave="paper"),  # the rest is inherited
    "model.head.vit.in_channels": 192,
    "train_cfg.max_epochs": 6,
    "param_scheduler.1.end": 6,
}
_rows = _base_.grid.row
grid = dict(
    _delete_=True,
    row=dict(
        none=_rows.none,
        both=_rows.both,
        both_gates_fast=_rows.both_gates_fast,
        cnn={**_rows.cnn, "model.backbone.vit.frozen_stages": 12},
        vit={**_rows.vit, "model.backbone.cnn.frozen_stages": 4},
    ),
)
controls = ["cnn", "logit_sum", "none"]
