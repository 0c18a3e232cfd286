"""Towers that know different things, in segmentation: MobileNetV2, and a ViT that knows foreground.

    DATA_ROOT=data/own IMAGE_SIZE=126 EPOCHS=30 CNN_WEIGHTS=mobilenet_v2.pth \
        VIT_WEIGHTS=vit_small_saliency.safetensors \
        python tools/analysis_tools/study.py configs/studies/own_masks_saliency.py

The recipe of `own_masks.py`; the ViT of `own_folders_saliency.py`, frozen, so that it keeps what it
knows and a training fits a CPU. With `vit_to_cnn` nothing flows back through it.
One seed of `none` and `vit_to_cnn`: docs/evidence.md.
"""

_base_ = "./own_masks.py"

common = {
    "model.backbone.vit.model_name": "vit_small_patch14_dinov2",
    "model.backbone.vit.frozen_stages": 12,
    "model.neck.embed_dims": 384,
}
grid = dict(
    _delete_=True,
    row=dict(
        none=_base_.grid.row.none,
        vit_to_cnn={"model.backbone.direction": "vit_to_cnn"},
        both={},
    ),
)
controls = ["none"]
