"""What an exchange is made of: forms, rates and weight decay, in classification.

    python tools/dataset_converters/draw_subset.py <cifar10> data/choose \
        train=train:160 test=train:40
    DATA_ROOT=data/choose CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/forms_folders.py

Both towers trained. Chosen here, confirmed on other images: docs/evidence.md.
"""

_base_ = "./own_folders.py"

seeds = [0, 1, 2]
_fius = "optim_wrapper.paramwise_cfg.fius"
_form = "model.backbone.form"
grid = dict(
    _delete_=True,
    row=dict(
        none={"model.backbone.direction": "none"},
        gated={_form: "gated"},
        zero={},
        zero_slow={_fius: dict(lr_mult=1.0)},
        zero_fast={_fius: dict(lr_mult=20.0)},
        zero_no_decay={_fius: dict(lr_mult=5.0, decay_mult=0.0)},
        zero_batch={_form: "zero_linear_batch"},
        zero_bare={_form: "zero_linear_bare"},
        zero_slower={_fius: dict(lr_mult=0.03)},
        scaled={_form: "zero_linear_scaled"},
        scaled_slow={_form: "zero_linear_scaled", _fius: dict(lr_mult=1.0)},
        zero_act={_form: "zero_linear_act"},
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none", "gated", "zero"]
