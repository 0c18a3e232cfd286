"""What a table of keys is made of."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

StateDict = dict[str, Tensor]
Rows = list[tuple[str, str | None]]  # (pattern of a key, its new name or None: not of the network)


@dataclass(frozen=True)
class Source:
    """Where weights come from."""

    name: str
    layout: str  # whose names the renamed keys are
    tell: str  # pattern of a key that only this source has
    rename: Rows | tuple = ()  # each row that matches is applied, in order; None ends it
    norm_eps: float | None = None  # where it is not that of timm's network of the same name
    finish: Callable[[StateDict], StateDict] | None = None  # what renaming cannot say


# what stands beside the backbone in the hosts' checkpoints
HOST_PARTS = r"(neck|rpn_head|roi_head|bbox_head|mask_head|decode_head|auxiliary_head)\..*"
