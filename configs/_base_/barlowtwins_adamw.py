"""AdamW with a long warm-up, for towers with transformers; ours, since the paper trained CNNs."""

_base_ = "./barlowtwins.py"

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, begin=0, end=40, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        eta_min=1e-6,
        begin=40,
        end=_base_.epochs,
        convert_to_iter_based=True,
    ),
]
