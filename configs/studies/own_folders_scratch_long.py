"""`own_folders_scratch.py` with three times the epochs, and the main rows.

    DATA_ROOT=data/own python tools/analysis_tools/study.py \
        configs/studies/own_folders_scratch_long.py --processes 2

Images in `train/NAME/*` and `val/NAME/*`. Results on Imagenette: docs/evidence.md.
"""

_base_ = "./own_folders_scratch.py"

common = {"train_cfg.max_epochs": 36, "param_scheduler.1.end": 36}
_kept = ("none", "both", "both_gates_fast", "cnn", "vit")
grid = dict(_delete_=True, row={name: _base_.grid.row[name] for name in _kept})
controls = ["cnn", "logit_sum", "none"]
