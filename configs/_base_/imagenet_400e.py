"""ImageNet-1k in the 400 epochs of Wu et al. 2021 (section 5.2), by what mmpretrain has of it.

RMSProp from 0.01 to 0.16 in 5 epochs, then times 0.9875 an epoch, 2048 images a step (8 x 256),
SyncBN, AutoAugment, label smoothing, stochastic depth, EMA. The constants of RMSProp are not in the
paper. Left out: distillation from FBNetV3-G, the dropout before the classifier, and stochastic
depth in the modules of tokens.
"""

_base_ = "./imagenet_90e.py"

sync_bn = "torch"
model = dict(head=dict(loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original")))
train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(
        type="AutoAugment",
        policies="imagenet",
        hparams=dict(pad_val=[104, 116, 124], interpolation="bicubic"),
    ),
    dict(type="PackInputs"),
]
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True,
        type="RMSprop",
        lr=0.16,
        alpha=0.9,
        eps=1e-3,
        momentum=0.9,
        weight_decay=4e-5,
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.0625, begin=0, end=5, convert_to_iter_based=True),
    dict(type="ExponentialLR", gamma=0.9875, begin=5, end=400),
]
train_cfg = dict(max_epochs=400)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="EMAHook", momentum=0.00015, update_buffers=True, priority="ABOVE_NORMAL"),
]
auto_scale_lr = dict(base_batch_size=2048)
