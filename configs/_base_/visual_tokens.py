"""ResNet of a depth, and its VT-ResNet, as mmpretrain's classifiers; DEPTH: 18 (default) to 101."""

_base_ = []  # or the import would make this a lazy config of mmengine's

from robustnet_mm.datasets import positive

custom_imports = dict(imports=["robustnet_mm.visual_tokens.head"], allow_failed_imports=False)
depth = positive("DEPTH", "{{$DEPTH:18}}")
# million parameters and billion multiply-adds of ResNet and VT-ResNet (Wu et al. 2021)
_figures = {
    18: ((11.7, 1.814), (11.6, 1.579)),
    34: ((21.8, 3.664), (21.8, 3.299)),
    50: ((25.5, 4.089), (21.4, 3.412)),
    101: ((44.4, 7.802), (41.5, 7.129)),
}
if depth not in _figures:
    raise ValueError(f"DEPTH must be one of 18, 34, 50, 101, got {depth}")
published_resnet, published_vt_resnet = (
    dict(
        source=f"table {2 if depth < 50 else 8}",
        parameters=p,
        multiply_adds=m,
        shape=(224, 224),
    )
    for p, m in _figures[depth]
)
vt_resnet = dict(
    backbone=dict(type="robustnet_mm.VTResNet", depth=depth),
    head=dict(type="robustnet_mm.VTTokenHead", num_classes=1000, in_channels=1024),
)
resnet = dict(
    backbone=dict(type="robustnet_mm.TimmCNNTower", model_name=f"resnet{depth}"),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=512 if depth < 50 else 2048,
    ),
)
