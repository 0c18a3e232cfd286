"""RobustNet nano as the demo's classifier leaves it, for what starts from it."""

nano = dict(
    _delete_=True,  # of what stands there
    type="robustnet_mm.RobustNet",
    arch="nano",
    weave=[(0, 0), (2, 1), (4, 2), (6, 3)],  # as in the classifier
    init_cfg=dict(
        type="robustnet_mm.PretrainedTower",
        checkpoint="work_dirs/robustnet-nano_5e_crops/epoch_5.pth",
        prefix="backbone.",
    ),
)
levels = [32, 64, 128, 256]
