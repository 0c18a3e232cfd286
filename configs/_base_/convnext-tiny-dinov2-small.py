"""ConvNeXt-T x DINOv2 ViT-S/14 with their classifiers, and their neck for detectors.

Weights by timm's names, fetched when training starts; both Apache-2.0 (docs/weights.md).
"""

start = dict(type="robustnet_mm.PretrainedTower", pretrained=True)
cnn = dict(type="robustnet_mm.TimmCNNTower", model_name="convnext_tiny.fb_in1k", init_cfg=start)
vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="vit_small_patch14_dinov2.lvd142m",
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
    cnn=dict(model_name="convnext_tiny.fb_in1k", init_cfg=start),
    vit=dict(
        model_name="vit_small_patch14_dinov2.lvd142m",
        init_cfg=dict(**start, allow_missing=[r"model\.head\."]),  # DINOv2 has no classifier
    ),
)
widths = [96, 192, 384, 768]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=384),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=256, num_outs=5),
]
