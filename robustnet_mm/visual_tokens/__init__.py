"""Visual tokens (Wu et al. 2021): VT-ResNet and VT-FPN.

mmpretrain's head for them is in `visual_tokens.head`, which configs import by `custom_imports`.
"""

from .fpn import VTFPN
from .modules import (
    ClusterTokenizer,
    FilterTokenizer,
    PoolingTokenizer,
    Projector,
    RecurrentTokenizer,
    TokenTransformer,
    VTModule,
)
from .resnet import TokenOutputs, VTResNet

__all__ = [
    "ClusterTokenizer",
    "FilterTokenizer",
    "PoolingTokenizer",
    "Projector",
    "RecurrentTokenizer",
    "TokenOutputs",
    "TokenTransformer",
    "VTFPN",
    "VTModule",
    "VTResNet",
]
