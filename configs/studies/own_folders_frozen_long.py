"""`own_folders_frozen.py` with twice the epochs, and the main rows.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py \
        configs/studies/own_folders_frozen_long.py --processes 2

Results on 2000 images of CIFAR-10: docs/evidence.md.
"""

_base_ = "./own_folders_frozen.py"

seeds = list(range(10))
common = {"train_cfg.max_epochs": 4, "param_scheduler.1.end": 4}
_kept = ("none", "both", "vit_to_cnn", "cnn_to_vit", "cnn", "vit_head_fast")
grid = dict(_delete_=True, row={name: _base_.grid.row[name] for name in _kept})
reads = dict(_delete_=True, cnn="accuracy/top1_cnn", vit_head_fast="accuracy/top1_vit")
ensembles = dict(_delete_=True, logit_sum=("cnn", "vit_head_fast"))
controls = ["cnn", "vit_head_fast", "logit_sum", "none"]
