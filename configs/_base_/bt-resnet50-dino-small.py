"""ResNet-50 of Barlow Twins x ViT-S/16 of DINO for mmseg, together and each alone.

BT_RESNET50 names the first one's file: a training checkpoint of
`configs/selfsup/barlowtwins_resnet50_300e_in1k.py`, or the authors' resnet50.pth. The second is
timm's vit_small_patch16_224.dino (Apache-2.0), fetched when training starts.
"""

cnn = dict(
    type="robustnet_mm.TimmCNNTower",
    model_name="resnet50",
    init_cfg=dict(
        type="robustnet_mm.PretrainedTower",
        checkpoint="{{$BT_RESNET50:work_dirs/barlowtwins_resnet50_300e_in1k/epoch_300.pth}}",
    ),
)
vit = dict(
    type="robustnet_mm.ViTTower",
    model_name="vit_small_patch16_224.dino",
    drop_path_rate=0.1,
    init_cfg=dict(type="robustnet_mm.PretrainedTower", pretrained=True),
)
both = dict(_delete_=True, type="robustnet_mm.RobustNet", cnn=cnn, vit=vit, weave="even")
widths = [256, 512, 1024, 2048]
neck = dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=384)
pyramid = dict(type="robustnet_mm.SimplePyramid", embed_dims=384, out_channels=256, num_outs=4)
num_maps = 6  # heads of the ViT
