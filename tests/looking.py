"""Small models to look into, shared by the tests of robustnet_mm.analysis."""

import torch
from helpers import open_gates
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

CLASSES = 5
BACKBONE = dict(type="robustnet_mm.RobustNet", arch="nano", weave=[(0, 0), (2, 1), (4, 2), (6, 3)])
HEAD = dict(
    type="robustnet_mm.TwoTowerHead",
    num_classes=CLASSES,
    cnn=dict(in_channels=256),
    vit=dict(in_channels=96, pool="token"),
)


def classifier(opened=True, **backbone):
    """mmpretrain's classifier with nano towers and heads that tell images apart."""
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = ROOT_MODELS.build(
            dict(type="ImageClassifier", backbone={**BACKBONE, **backbone}, head=HEAD)
        )
    if opened:
        open_gates(model.backbone)
    for head in (model.head.cnn, model.head.vit):
        torch.nn.init.normal_(head.fc.weight, std=0.5)
    return model.eval()


def host_classifier():
    """A classifier of the host with nothing of this package in it."""
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return ROOT_MODELS.build(
            dict(
                type="ImageClassifier",
                backbone=dict(type="ResNet", depth=18, base_channels=8, stem_channels=8),
                neck=dict(type="GlobalAveragePooling"),
                head=dict(type="LinearClsHead", num_classes=CLASSES, in_channels=64),
            )
        ).eval()


def photos(n=1, height=64, width=96):
    return torch.randn(n, 3, height, width)
