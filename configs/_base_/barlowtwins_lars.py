"""The optimiser of Barlow Twins for CNNs: LARS, 0.2 for 256 images; biases and norms apart."""

_base_ = "./barlowtwins.py"

apart = dict(decay_mult=0.0, lr_mult=0.024, lars_exclude=True)  # 0.0048 for 256 images
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="LARS", lr=1.6, momentum=0.9, weight_decay=1.5e-6),
    paramwise_cfg=dict(custom_keys={"bn": apart, "bias": apart, "downsample.1": apart}),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        eta_min=0.0016,
        begin=10,
        end=_base_.epochs,
        convert_to_iter_based=True,
    ),
]
