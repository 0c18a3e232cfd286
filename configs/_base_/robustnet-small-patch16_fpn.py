"""RobustNet small, as `robustnet-tiny-patch16_fpn.py`."""

_base_ = "./robustnet-tiny-patch16_fpn.py"
detector = dict(arch="small-patch16")
widths = [256, 512, 1024, 1024]
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=768),
    dict(type="mmdet.FPN", in_channels=widths, out_channels=256, num_outs=5),
]
