"""Inference without BatchNorm: each is folded into the convolution or linear layer before it."""

from collections import Counter

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from .paper_fiu import PaperExpand
from .towers.timm_cnn import TimmBlock


@torch.no_grad()
def fold_batchnorm(model: nn.Module) -> nn.Module:
    """Fold every BatchNorm that directly follows a plain convolution, in place, for inference.

    One pass over a small image shows which BatchNorm reads which convolution's output as it is.
    Load checkpoints first: the folded network has other keys, and trains badly.

    Args:
        model: `RobustNet`, a CNN tower, or any network that takes images, in eval mode.

    Returns:
        The model.

    Raises:
        ValueError: No network with weights, or one in training mode.
    """
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ValueError(f"model must be a network (nn.Module) with weights, got {model!r}")
    if model.training:
        raise ValueError("fold_batchnorm is for inference: call model.eval() before")
    for conv, norm in _pairs(model):
        _fold(fuse_conv_bn_weights, conv, norm)
        _replace(model, norm)
    expands = [m for m in model.modules() if isinstance(m, PaperExpand)]
    for expand in [m for m in expands if m.norm in _norms(m)]:
        _fold(fuse_linear_bn_weights, expand.proj, expand.norm)
        expand.norm = nn.Identity()
    return model


def _fold(fuse, layer: nn.Module, norm: _BatchNorm):
    statistics = norm.running_mean, norm.running_var, norm.eps
    layer.weight, layer.bias = fuse(layer.weight, layer.bias, *statistics, norm.weight, norm.bias)


def _pairs(model: nn.Module) -> list[tuple[nn.Conv2d, _BatchNorm]]:
    """Each BatchNorm that reads a convolution's output as it is, where both run just once."""
    made, pairs, calls = {}, [], Counter()

    def after_conv(conv, args, output):
        made[id(output)] = conv, output, output._version  # kept, so that the id stays its own
        calls[conv] += 1

    def before_norm(norm, args):
        conv, _, version = made.get(id(args[0]), (None, None, None))
        pairs.append((conv if version == args[0]._version else None, norm))
        calls[norm] += 1

    hooks = [m.register_forward_hook(after_conv) for m in model.modules() if type(m) is nn.Conv2d]
    hooks += [norm.register_forward_pre_hook(before_norm) for norm in _norms(model)]
    try:
        model(next(model.parameters()).new_zeros(1, 3, 64, 64))
    finally:
        for hook in hooks:
            hook.remove()
    return [(conv, norm) for conv, norm in pairs if conv and calls[conv] == calls[norm] == 1]


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def _replace(model: nn.Module, norm: _BatchNorm):
    """What timm's BatchNorm does beside normalising stays, and so do the hooks of a tower."""
    rest = nn.Sequential(*(getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)))
    rest.eval()
    rest._forward_hooks = norm._forward_hooks
    parents = list(model.modules())
    for tower in parents[:]:  # whose blocks of timm are no part of it under their own names
        parents += [m for b in getattr(tower, "blocks", ()) if isinstance(b, TimmBlock)
                    for m in b.modules()]  # fmt: skip
    for parent in parents:
        for name, child in parent.named_children():
            if child is norm:
                setattr(parent, name, rest)
