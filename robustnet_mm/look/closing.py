"""The same network with its exchanges closed: what each tower says alone."""

from collections.abc import Iterable
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustnet_mm.models import TowerNeck
from robustnet_mm.models.probe import net_of

from .outputs import tower_scores


@contextmanager
def _scaled(parts: Iterable[nn.Module], share: float = 0.0):
    """Within it, these modules give a share of what they gave; 0 is exactly zero."""

    def scale(module, args, output):
        return output * share if share else torch.zeros_like(output)

    handles = [part.register_forward_hook(scale) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _units(model: nn.Module) -> list[nn.Module]:
    parts = [part for fiu in net_of(model, "compare").fius for part in (fiu.squeeze, fiu.expand)]
    return [part for part in parts if part is not None]


def _necks(model: nn.Module) -> list[TowerNeck]:
    return [module for module in model.modules() if isinstance(module, TowerNeck)]


@contextmanager
def scaled_exchanges(model: nn.Module, share: float):
    """Within it, every FIU and TowerNeck adds a share of what it has learned to add.

    Args:
        model: Any model with a RobustNet.
        share: 1 is the model as it is, 0 is `closed_exchanges`.
    """
    parts = [*_units(model), *(part for neck in _necks(model) for part in neck.linears)]
    with _scaled(parts, share):
        yield


@contextmanager
def closed_exchanges(model: nn.Module):
    """Within it, no FIU and no TowerNeck adds anything, whatever it has learned.

    The backbone's towers then compute exactly what they compute alone, with the weights that they
    have now; a detector's neck sees the CNN's pyramid only.
    """
    with scaled_exchanges(model, 0.0):
        yield


@contextmanager
def without_cnn_maps(model: nn.Module):
    """Within it, the exchanges are closed and a detector's neck sees zeros for the CNN's maps.

    What reaches the host's neck is then what the `TowerNeck` makes of the ViT's tokens.

    Raises:
        ValueError: There is no `TowerNeck`, so that nothing of the ViT alone reaches the heads.
    """
    necks = _necks(model)
    if not necks:
        raise ValueError(
            "the ViT alone reaches a detector through a robustnet_mm.TowerNeck, and this config "
            "has none: its heads see the CNN's maps only"
        )

    def blank(module, args):
        (outputs,) = args
        return (outputs._replace(maps=tuple(torch.zeros_like(m) for m in outputs.maps)),)

    handles = [neck.register_forward_pre_hook(blank) for neck in necks]
    try:
        with _scaled(_units(model)):
            yield
    finally:
        for handle in handles:
            handle.remove()


def has_tower_neck(model: nn.Module) -> bool:
    """Whether the ViT alone reaches the detector's heads."""
    return bool(_necks(model))


def compare_towers(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """A two-tower classifier with and without its exchanges.

    Args:
        model: mmpretrain's classifier with a RobustNet and a TwoTowerHead.
        images: (N, 3, H, W) after the data preprocessor.

    Returns:
        'cnn only' and 'vit only' (exchanges closed, one head), 'sum, exchanges closed' (the two
        networks as an ensemble) and 'both' (exchanges open) -> softmax (N, num_classes). The
        ensemble and 'both' are the head's prediction, a sum unless it has learned another.

    Raises:
        ValueError: The classifier has not two heads.
    """
    together = tower_scores(model, images)
    if "cnn" not in together:
        raise ValueError(
            f"compare needs a TwoTowerHead, got {type(model).__name__} with one head: take "
            "`tower_scores` or `view_predict`"
        )
    with closed_exchanges(model):
        alone = tower_scores(model, images)
    return {
        "cnn only": alone["cnn"],
        "vit only": alone["vit"],
        "sum, exchanges closed": alone["sum"],
        "both": together["sum"],
    }
