"""Do attention maps help a segmentation head? MobileNetV2 x DeiT-Tiny, your own masks, 40 epochs.

    DATA_ROOT=data/own IMAGE_SIZE=128 CNN_WEIGHTS=mobilenet_v2.pth \
        VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_masks.py

`fusion_1` and `fusion_2` are both towers with a head that hears the ViT's attention; their controls
hear a uniform one, or one whose places are shuffled. Results: docs/segmentation.md.
"""

_base_ = "../_base_/study_towers.py"

base = "{{ fileDirname }}/../own_data/segformer_mobilenetv2-deit-tiny_own-masks.py"
seeds = [0, 1, 2]
metric = "val/mIoU"
_loader = dict(num_workers=0, persistent_workers=False)
common = {
    "train_dataloader": _loader,
    "val_dataloader": _loader,
    "val_evaluator.prefix": "val",
}
_reader = "model.attention"
_fusions = {
    "fusion_1": {
        "model.type": "robustnet_mm.AttentiveEncoderDecoder",
        _reader: dict(blocks=[-1], asked="class"),
        "model.decode_head": dict(type="robustnet_mm.AttentionFusionHead", num_maps=3),
    },
    "fusion_2": {
        "model.type": "robustnet_mm.AttentiveEncoderDecoder",
        _reader: dict(blocks=[-1]),
        "model.decode_head": dict(type="robustnet_mm.AffinityFusionHead"),
    },
}
_controls = {
    f"{name}_{control}": {**fusion, _reader: dict(fusion[_reader], control=control)}
    for name, fusion in _fusions.items()
    for control in ("uniform", "shuffled")
}
grid = dict(
    row=dict(
        both={},
        none=_base_._none,
        cnn={**_base_._cnn_alone, "model.neck": None},
        vit={
            **_base_._vit_alone,
            "model.neck": dict(_delete_=True, **_base_._pyramid),
            "model.decode_head.in_channels": [64, 64, 64, 64],
        },
        **_fusions,
        **_controls,
    ),
)
controls = ["both", "none", "cnn", "vit", *_controls]
