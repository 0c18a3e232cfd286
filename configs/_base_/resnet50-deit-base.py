"""ResNet-50 x DeiT-B/16 with their classifiers, and their neck for detectors.

Weights by timm's names, fetched when training starts; both Apache-2.0 (docs/weights.md).
"""

start = dict(type="robustnet_mm.PretrainedTower", pretrained=True)
cnn = dict(type="robustnet_mm.TimmCNNTower", model_name="resnet50.a1_in1k", init_cfg=start)
vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="deit_base_patch16_224.fb_in1k",
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
        model_name="deit_base_patch16_224.fb_in1k",
        init_cfg=start,
    ),
)
widths = [256, 512, 1024, 2048]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=768),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=256, num_outs=5),
]
