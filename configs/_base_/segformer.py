"""SegFormer's head under mmseg, for a leaf that joins it with a backbone and data."""

custom_imports = dict(imports=["robustnet_mm.segmentation"], allow_failed_imports=False)
model = dict(
    _scope_="mmseg",  # also where this is inherited as `robustnet_mm::`
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(type="robustnet_mm.RobustNet"),
    decode_head=dict(
        type="SegformerHead",
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        norm_cfg=dict(type="BN"),
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
