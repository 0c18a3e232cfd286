"""DINOv3's ConvNeXt-T x ViT-S/16 with their classifiers, and their necks for detectors.

Weights by timm's names, fetched when training starts. Both come under DINOv3's own
licence: read it before you use them (docs/weights.md).
"""

start = dict(type="robustnet_mm.PretrainedTower", pretrained=True)
cnn = dict(
    type="robustnet_mm.TimmCNNTower", model_name="convnext_tiny.dinov3_lvd1689m", init_cfg=start
)
vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="vit_small_patch16_dinov3.lvd1689m",
    drop_path_rate=0.1,
    init_cfg=start,
)
towers = dict(cnn=cnn, vit=vit, weave="even")
detector = dict(
    _delete_=True,  # of the host's ResNet
    type="robustnet_mm.RobustNet",
    **towers,
)
classifiers = dict(
    cnn=dict(
        model_name="convnext_tiny.dinov3_lvd1689m",
        init_cfg=dict(**start, allow_missing=[r"model\.head\.fc\."]),  # no classifier
    ),
    vit=dict(
        model_name="vit_small_patch16_dinov3.lvd1689m",
        init_cfg=dict(**start, allow_missing=[r"model\.head\."]),  # DINOv3 has no classifier
    ),
)
widths = [96, 192, 384, 768]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=384),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=256, num_outs=5),
]
tower_retinanet = [  # whose own neck starts at stride 8
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=384, start_level=1),
    dict(
        type="mmdet.FPN",
        in_channels=widths,
        out_channels=256,
        start_level=1,
        add_extra_convs="on_input",
        num_outs=5,
    ),
]
