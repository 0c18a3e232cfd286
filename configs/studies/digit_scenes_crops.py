"""Does weaving pay from scratch? RobustNet nano on DigitScenes' crops, 64 px, 5 epochs.

    python tools/analysis_tools/study.py configs/studies/digit_scenes_crops.py --processes 2

`python tools/demo.py` makes the data. Every row has the demo's recipe, tuned for none of them.
Results: docs/evidence.md.
"""

base = "../digit_scenes/robustnet-nano_5e_crops.py"
seeds = [0, 1, 2, 3, 4]
metric = "accuracy/top1"
direction = "model.backbone.direction"
losses = "model.head.loss_weights"
grid = dict(
    row=dict(
        cnn={direction: "none", losses: (1, 0), "model.backbone.vit.frozen_stages": 4},
        vit={direction: "none", losses: (0, 1), "model.backbone.cnn.frozen_stages": 4},
        none={direction: "none"},
        vit_to_cnn={direction: "vit_to_cnn"},
        cnn_to_vit={direction: "cnn_to_vit"},
        both={},
    )
)
reads = dict(cnn="accuracy/top1_cnn", vit="accuracy/top1_vit")
ensembles = dict(logit_sum=("cnn", "vit"))
controls = ["cnn", "logit_sum", "none"]
