"""Does weaving pay from scratch? RobustNet nano on a thousand photographs, 96 px, 12 epochs.

    DATA_ROOT=data/own python tools/analysis_tools/study.py \
        configs/studies/own_folders_scratch.py --processes 2

Images in `train/NAME/*` and `val/NAME/*`. Results on Imagenette: docs/evidence.md.
"""

base = "{{ fileDirname }}/../_base_/own_folders.py"
seeds = [0, 1, 2, 3, 4]
metric = "accuracy/top1"
_train = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=96, crop_ratio_range=(0.35, 1.0)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]
_loader = dict(num_workers=0, persistent_workers=False)
common = {
    "model.backbone": dict(
        _delete_=True,
        type="robustnet_mm.RobustNet",
        arch="nano",
        weave=[(0, 0), (2, 1), (4, 2), (6, 3)],
    ),
    "model.head.cnn": dict(in_channels=256),
    "model.head.vit": dict(in_channels=96, pool="token"),
    "train_dataloader": dict(**_loader, dataset=dict(pipeline=_train)),
    "val_dataloader": _loader,
    "val_dataloader.dataset.pipeline.1.scale": 96,
    "val_dataloader.dataset.pipeline.2.crop_size": 96,
    "train_cfg.max_epochs": 12,
    "param_scheduler.0.start_factor": 1e-3,
    "param_scheduler.0.end": 1,
    "param_scheduler.1.begin": 1,
    "param_scheduler.1.end": 12,
    "param_scheduler.1.eta_min": 1e-5,
    "optim_wrapper.optimizer.lr": 2e-3,
    "optim_wrapper.paramwise_cfg": dict(cnn=dict(lr_mult=1.0), vit=dict(lr_mult=1.0)),
}
_none = {"model.backbone.direction": "none"}
_losses = "model.head.loss_weights"
grid = dict(
    row=dict(
        none=_none,
        both={},
        both_gates_fast={
            "model.backbone.form": "gated",
            "optim_wrapper.paramwise_cfg.gates": dict(lr_mult=30.0),
        },
        none_sum_loss={**_none, _losses: (1, 1, 2)},
        both_sum_loss={_losses: (1, 1, 2)},
        cnn={**_none, _losses: (1, 0), "model.backbone.vit.frozen_stages": 4},
        vit={**_none, _losses: (0, 1), "model.backbone.cnn.frozen_stages": 4},
    )
)
reads = dict(cnn="accuracy/top1_cnn", vit="accuracy/top1_vit")
ensembles = dict(logit_sum=("cnn", "vit"))
controls = ["cnn", "logit_sum", "none", "none_sum_loss"]
