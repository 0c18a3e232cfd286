"""RobustNet small, as `robustnet-tiny-patch16_fpn.py`."""

_base_ = "./robustnet-tiny-patch16_fpn.py"
robustnet = dict(arch="small-patch16")
tower_fpn = [
    dict(type="robustnet_mm.TowerNeck", in_channels=[256, 512, 1024, 1024], embed_dims=768),
    dict(type="mmdet.FPN", in_channels=[256, 512, 1024, 1024], out_channels=256, num_outs=5),
]
