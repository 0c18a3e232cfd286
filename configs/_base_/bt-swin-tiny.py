"""Swin-T with the weights of `configs/selfsup/barlowtwins_swin-tiny_300e_in1k.py`, for mmseg.

BT_SWIN_TINY names that file.
"""

backbone = dict(
    _delete_=True,
    type="mmpretrain.SwinTransformer",
    arch="tiny",
    drop_path_rate=0.2,
    out_indices=(0, 1, 2, 3),
    pad_small_map=True,
    init_cfg=dict(
        type="Pretrained",
        checkpoint="{{$BT_SWIN_TINY:work_dirs/barlowtwins_swin-tiny_300e_in1k/epoch_300.pth}}",
        prefix="backbone.",
    ),
)
widths = [96, 192, 384, 768]
attention = dict(blocks=[-3])  # the last of the third stage, at stride 16
num_maps = 12  # its heads
