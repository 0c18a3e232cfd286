"""Is what exchanges more robust than what is trained side by side? The recipe of `own_folders.py`.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders_robustness.py \
        --keep-checkpoints

Its trainings are what tools/analysis_tools/robustness.py is then run on, with `cell.py` of each as
the config: images in `train/NAME/*` and `val/NAME/*`, 128 px in the test too. Results:
docs/robustness.md.
"""

_base_ = "./own_folders.py"

seeds = [0, 1, 2]
common = {
    "val_dataloader.dataset.data_prefix": "val",
    "test_dataloader.dataset.pipeline.1.scale": 128,
    "test_dataloader.dataset.pipeline.2.crop_size": 128,
}
grid = dict(_delete_=True, row=dict(none=_base_.grid.row.none, both={}))
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none"]
