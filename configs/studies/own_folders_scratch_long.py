"""`own_folders_scratch.py` with three times the epochs, gates that learn fast, and the main rows.

    DATA_ROOT=data/own python tools/analysis_tools/study.py \
        configs/studies/own_folders_scratch_long.py --processes 2

Images in `train/NAME/*` and `val/NAME/*`. Results on Imagenette: docs/evidence.md.
"""

_base_ = "./own_folders_scratch.py"

common = {"train_cfg.max_epochs": 36, "param_scheduler.1.end": 36}
_rows = _base_.grid.row
grid = dict(
    _delete_=True,
    row=dict(none=_rows.none, both=_rows.both_gates_fast, cnn=_rows.cnn, vit=_rows.vit),
)
controls = ["cnn", "logit_sum", "none"]
