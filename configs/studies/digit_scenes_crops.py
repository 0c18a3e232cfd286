"""A study without data of your own: RobustNet nano from scratch on DigitScenes' crops, 3 epochs.

    python tools/analysis_tools/study.py configs/studies/digit_scenes_crops.py --processes 2

`python tools/demo.py` makes the data. Every cell has the demo's recipe, tuned for none of them.
Not run by this project yet: docs/evidence.md.
"""

base = "{{ fileDirname }}/../digit_scenes/robustnet-nano_5e_crops.py"
seeds = [0, 1, 2, 3, 4]
metric = "accuracy/top1"
common = {"train_cfg.max_epochs": 3, "param_scheduler.1.end": 3}
_none, _losses = {"model.backbone.direction": "none"}, "model.head.loss_weights"
grid = dict(
    row=dict(
        none=_none,
        both={},
        both_gates_fast={
            "model.backbone.form": "gated",
            "optim_wrapper.paramwise_cfg": dict(gates=dict(lr_mult=30.0)),
        },
        cnn={**_none, _losses: (1, 0), "model.backbone.vit.frozen_stages": 4},
        vit={**_none, _losses: (0, 1), "model.backbone.cnn.frozen_stages": 4},
    )
)
reads = dict(cnn="accuracy/top1_cnn", vit="accuracy/top1_vit")
ensembles = dict(logit_sum=("cnn", "vit"))
controls = ["cnn", "logit_sum", "none"]
