"""ResNet-50 x DINOv3 ViT-B/16 with their classifiers, and their necks for detectors.

Weights by timm's names, fetched when training starts. ResNet-50 is Apache-2.0; DINOv3
has a licence of its own: read it before you use it (docs/weights.md).
"""

start = dict(type="robustnet_mm.PretrainedTower", pretrained=True)
cnn = dict(type="robustnet_mm.TimmCNNTower", model_name="resnet50.a1_in1k", init_cfg=start)
vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="vit_base_patch16_dinov3.lvd1689m",
    drop_path_rate=0.1,
    init_cfg=start,
)
towers = dict(cnn=cnn, vit=vit, weave="even")
detector = dict(
    _delete_=True,  # of the host's ResNet
    type="robustnet_mm.RobustNet",
    **{**towers, "cnn": dict(**cnn, norm_eval=True)},
)
classifiers = dict(
    cnn=dict(model_name="resnet50.a1_in1k", init_cfg=start),
    vit=dict(
        model_name="vit_base_patch16_dinov3.lvd1689m",
        init_cfg=dict(**start, allow_missing=[r"model\.head\."]),  # DINOv3 has no classifier
    ),
)
widths = [256, 512, 1024, 2048]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=768),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=256, num_outs=5),
]
