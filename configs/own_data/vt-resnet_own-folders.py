"""VT-ResNet on your own images in folders: docs/visual-tokens.md.

    DATA_ROOT=data/own DEPTH=18 python tools/train.py configs/own_data/vt-resnet_own-folders.py

Stem and first three stages start as timm's ResNet of that depth, or as CNN_WEIGHTS says; the
modules of tokens start fresh.
"""

_base_ = ["../_base_/own_folders.py", "../_base_/visual_tokens.py", "../_base_/own_start.py"]
_vt = _base_.vt_resnet
model = dict(
    backbone=dict(_delete_=True, **_vt["backbone"], cnn=dict(init_cfg=_base_.cnn_start)),
    head=dict(_delete_=True, **{**_vt["head"], "num_classes": len(_base_.classes)}),
)
val_evaluator = dict(
    _delete_=True, type="Accuracy", topk=(1, 5) if len(_base_.classes) >= 5 else (1,)
)
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=1e-3))
