"""Measuring a woven network: what its exchanges add, where, and how far they are open."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .grids import add_guide
from .paper_fiu import Gate
from .robustnet import RobustNet
from .towers import ViTTower
from .zero_linear import ZeroLinear


def backbone_of(model: nn.Module) -> nn.Module:
    """The backbone inside a host's model, or the model itself."""
    return getattr(getattr(model, "model", model), "backbone", model)


def vit_tower_of(backbone: nn.Module) -> ViTTower | None:
    """The ViT tower of a woven backbone, or the backbone that is one; None for others."""
    vit = backbone.vit if isinstance(backbone, RobustNet) else backbone
    return vit if isinstance(vit, ViTTower) else None


def net_of(model: nn.Module, wanted_for: str) -> RobustNet:
    """The woven backbone of a model.

    Raises:
        ValueError: It has another backbone.
    """
    backbone = backbone_of(model)
    if not isinstance(backbone, RobustNet):
        raise ValueError(
            f"{wanted_for}: needs a robustnet_mm.RobustNet as backbone, got "
            f"{type(backbone).__name__}: take a config with two towers"
        )
    return backbone


@contextmanager
def undisturbed(model: nn.Module):
    """Eval mode, and no gradients of weights; afterwards all is as it was."""
    modes = {module: module.training for module in model.modules()}
    weights = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    model.eval()
    for weight, _, _ in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight, learns, grad in weights:
            weight.requires_grad_(learns)
            weight.grad = grad
        for module, mode in modes.items():
            module.training = mode


class Added(NamedTuple):
    """What a squeeze or an expand added to N images."""

    share: np.ndarray  # (N,): norm of what is added / norm of what it is added to
    where: np.ndarray  # (N, h, w): norm over channels at each place / root mean square of the base


class Exchange(NamedTuple):
    """One exchange; None where its direction is not built."""

    pair: tuple[int, int]
    squeeze: Added | None  # to the patch tokens, at their grid
    expand: Added | None  # to the map before the spatial convolution, at the size of the map


class ExchangeProbe:
    """Measures a woven network while it runs, by hooks that change nothing.

    with ExchangeProbe(net) as probe:
        net(images)
    probe.exchanges[0].squeeze.share  # (N,)

    Args:
        net: A `RobustNet`, or a model whose backbone is one.

    Attributes:
        exchanges: An `Exchange` for each of `net.exchanges`, of the last images that ran.

    Raises:
        ValueError: Another backbone, or one without exchanges.
    """

    def __init__(self, net: nn.Module):
        self.net = net_of(net, "exchange")
        if not self.net.exchanges:
            raise ValueError("direction='none' makes no exchanges: take another direction")
        self._squeezed, self._expanded = {}, {}
        self._handles = []

    @property
    def exchanges(self) -> list[Exchange]:
        return [
            Exchange(pair, self._squeezed.get(k), self._expanded.get(k))
            for k, pair in enumerate(self.net.exchanges)
        ]

    def __enter__(self):
        for k, (u, _) in enumerate(self.net.exchanges):
            fiu = self.net.fius[k]
            if fiu.squeeze is not None:
                self._watch_squeeze(k, fiu)
            if fiu.expand is not None:
                self._watch_expand(k, fiu, self.net.cnn.blocks[u + 1])
        return self

    def __exit__(self, *error):
        for handle in self._handles:
            handle.remove()
        for fiu in self.net.fius:
            for method in ("into_tokens", "guide"):
                fiu.__dict__.pop(method, None)

    def _watch_squeeze(self, k: int, fiu: nn.Module):
        """`into_tokens` is no module, which could be hooked: it alone sees both sides."""
        method, kept = fiu.into_tokens, {}

        def keep(module, args, output):
            kept[module] = output.detach()

        def into_tokens(tokens, detail, grid):
            result = method(tokens, detail, grid)
            added = kept.pop(fiu.squeeze) * kept.pop(fiu.squeeze_share, 1.0)
            base = tokens[:, -added.size(1) :].detach()
            as_map = [x.transpose(1, 2).unflatten(2, grid) for x in (added, base)]
            self._squeezed[k] = measure(*as_map)
            return result

        for part in (fiu.squeeze, fiu.squeeze_share):
            if part is not None:
                self._handles.append(part.register_forward_hook(keep))
        fiu.into_tokens = into_tokens

    def _watch_expand(self, k: int, fiu: nn.Module, block: nn.Module):
        method, kept = fiu.guide, {}

        def guide(tokens, detail, grid):
            result = method(tokens, detail, grid)
            kept["guide"] = result.detach()
            return result

        def before_convolution(module, args):
            if "guide" in kept:  # the nearest resize is part of what is added
                both = args[0].detach()
                added = add_guide(torch.zeros_like(both), kept.pop("guide"))
                self._expanded[k] = measure(added, both - added)

        fiu.guide = guide
        place = block.guided
        self._handles.append(place.register_forward_pre_hook(before_convolution))


def measure(added: Tensor, base: Tensor) -> Added:
    """(N, C, h, w) twice -> how large the one is beside the other."""
    added, base = added.float(), base.float()
    power = base.square().sum(1).mean((1, 2)).sqrt().clamp_min(1e-12)  # root mean square, (N,)
    where = added.norm(dim=1) / power[:, None, None]
    return Added(where.square().mean((1, 2)).sqrt().cpu().numpy(), where.cpu().numpy())


@torch.no_grad()
def exchange_shares(model: nn.Module, images: Tensor) -> list[Exchange]:
    """An `Exchange` for each exchange of the model's backbone, on (N, 3, H, W)."""
    with undisturbed(model), ExchangeProbe(model) as probe:
        probe.net(images)
    return probe.exchanges


def layer_of(unit: nn.Module) -> nn.Linear:
    """The linear layer of a squeeze or an expand, of whatever form."""
    return unit.linear if _ends_at_zero(unit) else unit.proj


def _ends_at_zero(unit: nn.Module) -> bool:
    return isinstance(getattr(unit, "linear", None), ZeroLinear)


def channel_strengths(model: nn.Module) -> dict[str, np.ndarray]:
    """How far each channel of each exchange is open: 0 at the start.

    'exchange 0 squeeze' -> (D,), 'exchange 0 expand' -> (Cd,): the norm of the channel's weights in
    the layer that starts at zero, over sqrt(C) of its width C: the root mean square of what they
    add, were its inputs uncorrelated and of deviation 1. Or the size of the channel's gate. None
    for ungated units. What form='tokens' adds is much less: its layer reads means of many inputs.
    """
    found = {}
    for k, fiu in enumerate(net_of(model, "strengths").fius):
        for name in ("squeeze", "expand"):
            unit = getattr(fiu, name)
            if _ends_at_zero(unit):
                linear = layer_of(unit)
                strength = linear.weight.norm(dim=1) / linear.in_features**0.5
            elif isinstance(getattr(unit, "gate", None), Gate):
                strength = unit.gate.scale.abs()
            else:
                continue
            found[f"exchange {k} {name}"] = strength.detach().float().cpu().numpy()
    return found
