"""RobustNet tiny with its neck, for detectors; BatchNorm of the CNN in eval mode."""

detector = dict(
    _delete_=True,  # of the host's ResNet
    type="robustnet_mm.RobustNet",
    arch="tiny-patch16",
    cnn=dict(norm_eval=True),
    vit=dict(drop_path_rate=0.1),
)
widths = [64, 128, 256, 256]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=192),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=256, num_outs=5),
]
