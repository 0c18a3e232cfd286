"""Panoptic FPN's semantic branch for mmseg, for a leaf that puts FPN or VT-FPN before it."""

fpn_head = dict(
    _delete_=True,  # of what stands there
    type="FPNHead",
    in_index=[0, 1, 2, 3],
    feature_strides=[4, 8, 16, 32],
    channels=128,
    dropout_ratio=0.1,
    norm_cfg=dict(type="BN"),
    align_corners=False,
    loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
)
