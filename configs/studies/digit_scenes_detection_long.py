"""`digit_scenes_detection.py` with twice the epochs, ten times the held-out scenes and more seeds.

    python -c "from robustnet_mm.datasets import make_digit_scenes as make; \
        make('data/digit_scenes_800', scenes=(400, 800), crops=(1, 1))"
    CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py \
        configs/studies/digit_scenes_detection_long.py --processes 2

The 400 scenes of the training are the same. Results: docs/evidence.md.
"""

_base_ = "./digit_scenes_detection.py"

seeds = list(range(10))
_root = "data/digit_scenes_800/"
common = {
    "train_cfg.max_epochs": 8,
    "train_cfg.val_interval": 8,
    "param_scheduler.1.end": 8,
    "train_dataloader.dataset.data_root": _root,
    "val_dataloader.dataset.data_root": _root,
    "val_evaluator.ann_file": _root + "annotations/instances_val.json",
}
_kept = ("none", "both", "both_no_neck", "cnn", "vit")
grid = dict(_delete_=True, row={name: _base_.grid.row[name] for name in _kept})
