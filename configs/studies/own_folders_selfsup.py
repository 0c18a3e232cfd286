"""What two towers learn from each other without labels: Barlow Twins of nano, 80 px, 20 epochs.

    DATA_ROOT=data/own python tools/analysis_tools/study.py configs/studies/own_folders_selfsup.py

Without exchanges and cross-tower terms (`none`) each tower learns alone. The metric is the accuracy
of the CNN's nearest neighbours; results.json has the ViT's too, and what is told without labels.
Results: docs/self-supervision.md.
"""

base = "../selfsup/barlowtwins_robustnet-nano_own-folders.py"
seeds = [0, 1, 2]
metric = "representation/cnn_knn"
_none = {"model.backbone.direction": "none"}
grid = dict(
    row=dict(
        none=_none,
        none_cross={**_none, "model.cross_weight": 0.5},
        both={},
        both_cross={"model.cross_weight": 0.5},
        random={"optim_wrapper.optimizer.lr": 0.0},
    )
)
controls = ["none", "both", "random"]
