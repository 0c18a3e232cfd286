"""Parts of studies in detection and segmentation: MobileNetV2 and DeiT-Tiny, each tower alone."""

_none = {"model.backbone.direction": "none"}
_cnn = dict(
    type="robustnet_mm.TimmCNNTower",
    model_name="mobilenetv2_100",
    norm_eval=True,
    channels_last=True,
    init_cfg=dict(
        type="robustnet_mm.PretrainedTower", checkpoint="{{$CNN_WEIGHTS:mobilenet_v2.pth}}"
    ),
)
_vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="deit_tiny_patch16_224",
    init_cfg=dict(
        type="robustnet_mm.PretrainedTower", checkpoint="{{$VIT_WEIGHTS:deit_tiny_patch16_224.pth}}"
    ),
)
_fpn = dict(type="mmdet.FPN", in_channels=[24, 32, 96, 320], out_channels=64, num_outs=4)
_pyramid = dict(type="robustnet_mm.SimplePyramid", embed_dims=192, out_channels=64, num_outs=4)
_cnn_alone = {"model.backbone": dict(_delete_=True, **_cnn), "model.neck": [_fpn]}
_vit_alone = {"model.backbone": dict(_delete_=True, **_vit), "model.neck": [_pyramid]}
