"""Do the exchanges make the accuracy dip? Schedules x weaves, watched epoch by epoch.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders_dip.py --processes 2

The paper saw its accuracy fall at epoch 6 and explained it by the FIUs. Its code warms up for five
epochs, so that the learning rate has its peak there. Here one rate for all parts, as in the paper,
with its schedule or constant, on ungated random FIUs, as in the paper, on gated ones, and on none.
A quarter of the images, so that it is affordable. Results on CIFAR-10: docs/evidence.md.
"""

_base_ = "./own_folders.py"

seeds = [0, 1, 2]
_kept = _base_.common.items()
common = {
    "_delete_": True,
    **{name: value for name, value in _kept if name.split("_")[0] not in ("param", "optim")},
    "train_dataloader.dataset.indices": list(range(0, 2000, 4)),
    "val_dataloader.dataset.indices": list(range(0, 1000, 4)),
    "optim_wrapper.optimizer.lr": 5e-4,
    "optim_wrapper.paramwise_cfg": dict(_delete_=True),
    "train_cfg.max_epochs": 8,
}
_epochs = dict(by_epoch=True, convert_to_iter_based=True)
_paper = [
    dict(type="LinearLR", start_factor=1e-3, begin=0, end=5, **_epochs),
    dict(type="CosineAnnealingLR", eta_min=1e-5, begin=5, end=20, **_epochs),
]
_monitored = {
    "custom_hooks": [
        dict(type="robustnet_mm.EpochSeedHook"),
        dict(type="robustnet_mm.NaNGuardHook"),
        dict(type="SyncBuffersHook"),
        dict(type="robustnet_mm.WeaveMonitorHook"),
    ]
}
grid = dict(
    _delete_=True,
    schedule=dict(
        paper={"param_scheduler": _paper},
        constant={"param_scheduler": [dict(type="ConstantLR", factor=1.0)]},
    ),
    weave=dict(
        none=_base_.grid.row.none,
        gated={**_monitored, "model.backbone.form": "gated"},
        ungated={**_monitored, "model.backbone.form": "ungated"},
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["paper+none", "constant+none"]
