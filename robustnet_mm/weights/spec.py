"""What loading knows of a file's names, and what a module that loads weights owes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

StateDict = dict[str, Tensor]
Rows = list[tuple[str, str | None]]  # (pattern of a key, its new name or None: not of the network)

# what stands beside the backbone in the hosts' checkpoints
HOST_PARTS = r"(neck|rpn_head|roi_head|bbox_head|mask_head|decode_head|auxiliary_head)\..*"
# the same in self-supervised training checkpoints: those of Barlow Twins' authors, of solo-learn
SELFSUP_PARTS = r"(projector|predictor|classifier|momentum_\w+|bn)\..*"
# kind of a module -> where it stands in a classifier or a detector of this package
OWN_PREFIXES = {
    "network": "backbone.",
    "cnn": "backbone.cnn.",
    "vit": "backbone.vit.",
    "cnn_head": "head.cnn.",
    "vit_head": "head.vit.",
}


@dataclass(frozen=True)
class Source:
    """Where weights come from."""

    name: str
    layout: str  # whose names the renamed keys are
    tell: str  # pattern of a key that only this source has
    rename: Rows | tuple = ()  # each row that matches is applied, in order; None ends it
    norm_eps: float | None = None  # where it is not that of timm's network of the same name
    finish: Callable[[StateDict], StateDict] | None = None  # what renaming cannot say


@dataclass(frozen=True)
class WeightsSpec:
    """What a module tells about the weights that it takes.

    Args:
        kind: A row of `OWN_PREFIXES`.
        layouts: Whose published names it takes, each a `Source.layout`: 'ResNet', 'ViT', ...
        keys: Published key -> its own, by the first pattern that matches; None: another part's.
        dropped: Beginnings of its own keys that a file may have beyond it, of parts left out.
        model_name: timm's name of it, for `pretrained=True`; None where timm has none.
        assumed_mean: Mean of the images' normalisation that was taken from timm's name; None where
            the user stated it.
        trains_norms: Whether training changes the statistics of its BatchNorm.
    """

    kind: str
    layouts: tuple[str, ...] = ()
    keys: Rows | tuple = ()
    dropped: tuple[str, ...] = ()
    model_name: str | None = None
    assumed_mean: tuple[float, ...] | None = None
    trains_norms: bool = False


@runtime_checkable
class Loadable(Protocol):
    """What loads weights: it states which."""

    weights_spec: WeightsSpec
