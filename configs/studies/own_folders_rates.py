"""The learning rates of `own_folders.py`: each tower alone at three rates or four, one seed.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders_rates.py --processes 2
"""

_base_ = "./own_folders.py"

seeds = [0]
_cnn, _vit, _none = (_base_.grid.row[name] for name in ("cnn", "vit", "none"))
_cnn_rate, _vit_rate = (f"optim_wrapper.paramwise_cfg.{tower}.lr_mult" for tower in ("cnn", "vit"))
grid = dict(
    _delete_=True,
    row=dict(
        cnn_slow={**_cnn, _cnn_rate: 0.1},
        cnn=_cnn,
        cnn_fast={**_cnn, _cnn_rate: 1.0},
        vit_slow={**_vit, _vit_rate: 0.03},
        vit=_vit,
        vit_fast=_base_.grid.row.vit_fast,
        vit_faster={**_vit, _vit_rate: 1.0},
        none=_none,
        none_vit_fast={**_none, _vit_rate: 0.3},
        both={},
        both_vit_fast={_vit_rate: 0.3},
    ),
)
reads = {name: f"accuracy/top1_{name[:3]}" for name in grid["row"] if name[:3] in ("cnn", "vit")}
ensembles = dict(_delete_=True)
controls = ["cnn", "vit", "none", "both"]
