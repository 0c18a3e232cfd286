"""mmdet's Panoptic FPN on COCO with VT-FPN in the place of FPN, 12 epochs.

    tools/dist_train.sh configs/visual_tokens/panoptic-vt-fpn_resnet50_1x_coco.py 8

Not trained by this project: no weights of it exist.
"""

_base_ = "mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py"
model = dict(
    neck=dict(
        _delete_=True,
        type="robustnet_mm.VTFPN",
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_outs=5,
    )
)
custom_hooks = [  # the host's file has an empty list, which shuts out that of _base_/hooks.py
    dict(type="robustnet_mm.EpochSeedHook"),
    dict(type="robustnet_mm.NaNGuardHook"),
    dict(type="SyncBuffersHook"),
]
default_hooks = dict(
    images=dict(type="robustnet_mm.CheckedImagesHook", on_error="raise"),
    checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", max_keep_ckpts=3),
)
