"""Which part of the weave does what? RobustNet nano on DigitScenes' crops, 64 px, 3 epochs.

    python tools/analysis_tools/study.py configs/studies/digit_scenes_crops.py --processes 2

`python tools/demo.py` makes the data. Every cell has the demo's recipe, tuned for none of them.
"""

base = "../digit_scenes/robustnet-nano_5e_crops.py"
seeds = [0, 1, 2]
metric = "accuracy/top1"
common = {"train_cfg.max_epochs": 3, "param_scheduler.1.end": 3}
_direction, _losses = "model.backbone.direction", "model.head.loss_weights"
_rates = "optim_wrapper.paramwise_cfg"
grid = dict(
    row=dict(
        none={_direction: "none"},
        both={},
        cnn={_direction: "none", _losses: (1, 0), "model.backbone.vit.frozen_stages": 4},
        vit={_direction: "none", _losses: (0, 1), "model.backbone.cnn.frozen_stages": 4},
        vit_to_cnn={_direction: "vit_to_cnn"},
        cnn_to_vit={_direction: "cnn_to_vit"},
        sum_loss={_losses: (1, 1, 2)},
        ungated={"model.backbone.gate": None},
        attention={"model.backbone.fuse": "attention"},
        weave_paper={"model.backbone.weave": "paper"},
        weave_even={"model.backbone.weave": "even"},
        vit_frozen={"model.backbone.vit.frozen_stages": 4},
        fius_slow={_rates: dict(fius=dict(lr_mult=0.2))},
        gates_fast={_rates: dict(gates=dict(lr_mult=5.0))},
        layer_decay={_rates: dict(cnn=dict(decay_rate=0.8), vit=dict(decay_rate=0.8))},
        drop_path={"model.backbone.vit.drop_path_rate": 0.1},
    )
)
reads = dict(cnn="accuracy/top1_cnn", vit="accuracy/top1_vit")
ensembles = dict(logit_sum=("cnn", "vit"))
controls = ["both", "cnn", "logit_sum", "none"]
