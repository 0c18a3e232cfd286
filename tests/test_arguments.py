"""Every argument of every public class: what comes works, or a ValueError names the argument."""

import inspect
from math import inf, nan

import pytest
from torch import nn

from robustnet_mm.arguments import arguments_of
from robustnet_mm.datasets.loading import LoadImage
from robustnet_mm.engine.hooks import CheckedImagesHook, NaNGuardHook
from robustnet_mm.engine.metrics import TowerAccuracy
from robustnet_mm.engine.optim import TowerLayerDecayConstructor
from robustnet_mm.models import (
    ConvTower,
    RobustNet,
    SimplePyramid,
    SizedDataPreprocessor,
    TimmCNNTower,
    TowerNeck,
    TwoTowerHead,
    ViTTower,
    fold_batchnorm,
    pair_blocks,
)
from robustnet_mm.models.classifiers import (
    CNNClassifier,
    TimmCNNClassifier,
    TimmViTClassifier,
    ViTClassifier,
)
from robustnet_mm.weights import PretrainedTower

SMALL_CNN = dict(model_name="resnet18", model_args=dict(layers=(1, 1, 1, 1), channels=(8,) * 4))
SMALL_VIT = dict(
    model_name="deit_tiny_patch16_224", model_args=dict(depth=2, embed_dim=48, num_heads=3)
)
GOOD = {
    RobustNet: dict(arch="nano"),
    ConvTower: dict(arch="nano"),
    TimmCNNTower: SMALL_CNN,
    ViTTower: dict(**SMALL_VIT, window_size=2),
    TwoTowerHead: dict(
        num_classes=2,
        cnn=dict(in_channels=8),
        vit=dict(in_channels=8),
        loss=dict(type=nn.CrossEntropyLoss),
    ),
    CNNClassifier: dict(in_channels=8, num_classes=2),
    ViTClassifier: dict(in_channels=8, num_classes=2),
    TimmCNNClassifier: dict(num_classes=2, **SMALL_CNN),
    TimmViTClassifier: dict(num_classes=2, **SMALL_VIT),
    TowerNeck: dict(in_channels=(8, 16), embed_dims=8),
    SimplePyramid: dict(embed_dims=8),
    SizedDataPreprocessor: dict(preprocessor=dict(type="mmengine.BaseDataPreprocessor")),
    fold_batchnorm: dict(model=nn.Sequential(nn.Conv2d(3, 8, 1)).eval()),
    pair_blocks: dict(num_cnn=8, num_vit=4),
    PretrainedTower: dict(checkpoint="a.pth"),
    NaNGuardHook: {},
    CheckedImagesHook: {},
    LoadImage: {},
    TowerAccuracy: {},
    TowerLayerDecayConstructor: dict(optim_wrapper_cfg=dict(optimizer=dict(type="SGD", lr=1.0))),
}
HOSTILE = (None, True, "x", "", -1, 0, 1.5, nan, inf, [], [1], ["x"], {}, {"x": 1}, object())


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_a_hostile_value_works_or_a_value_error_names_its_argument(kind):
    good, wrong = GOOD[kind], []
    kind(**good)
    names = arguments_of(kind) if isinstance(kind, type) else inspect.signature(kind).parameters
    names = names if kind is not LoadImage else ["on_error"]  # the others are mmcv's
    for name in names:
        for value in HOSTILE:
            try:
                kind(**{**good, name: value})
            except Exception as error:
                if not isinstance(error, ValueError) or name not in str(error):
                    wrong.append(f"{name}={value!r}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)
