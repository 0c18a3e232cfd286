"""How towers of your own training start: CNN_WEIGHTS, VIT_WEIGHTS, FREEZE_VIT.

A weight file, or 'timm' (the default) for timm's file of the tower's name, which is downloaded
once. FREEZE_VIT=1 trains everything but the ViT tower.
"""

_base_ = []  # or the import would make this a lazy config of mmengine's

from robustnet_mm.datasets import switched_on

cnn_start, vit_start = (
    dict(
        type="robustnet_mm.PretrainedTower",
        **(dict(pretrained=True) if weights == "timm" else dict(checkpoint=weights)),
    )
    for weights in ("{{$CNN_WEIGHTS:timm}}", "{{$VIT_WEIGHTS:timm}}")
)
# of the ViTs used here, all
frozen_blocks = 12 if switched_on("FREEZE_VIT", "{{$FREEZE_VIT:0}}") else -1
