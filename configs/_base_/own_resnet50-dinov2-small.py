"""ResNet-50 x DINOv2 ViT-S/14 for your own data, with their classifiers and neck.

By default timm's resnet50.a1_in1k and vit_small_patch14_dinov2.lvd142m (Apache-2.0).
"""

_base_ = "./own_start.py"

cnn = dict(
    type="robustnet_mm.TimmCNNTower",
    model_name="resnet50.a1_in1k",
    norm_eval=True,  # batches are small
    init_cfg=_base_.cnn_start,
)
vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="vit_small_patch14_dinov2.lvd142m",
    drop_path_rate=0.1,
    frozen_stages=_base_.frozen_blocks,
    init_cfg=_base_.vit_start,
)
towers = dict(
    _delete_=True,  # of what stands there
    type="robustnet_mm.RobustNet",
    cnn=cnn,
    vit=vit,
    weave="even",
)
classifiers = dict(
    cnn=dict(
        model_name=cnn["model_name"],
        init_cfg=dict(_base_.cnn_start, allow_missing=[r"model\.fc\."]),
    ),
    vit=dict(
        model_name=vit["model_name"],
        init_cfg=dict(_base_.vit_start, allow_missing=[r"model\.head\."]),
    ),
)
widths = [256, 512, 1024, 2048]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=384),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=256, num_outs=5),
]
