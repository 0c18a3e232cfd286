"""What a stylised picture is judged by: content, style, identity and smoothness."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustnet_mm.arguments import (
    check_choice,
    check_dict,
    check_flag,
    check_number,
    check_text,
    nearest,
)
from robustnet_mm.registry import MODELS

from .networks import Outside
from .transfer import adain, normalize, statistics

Features = dict[str, Tensor]
# StyTr2's; a term of weight zero is left out
WEIGHTS = dict(
    content=7.0,
    style=10.0,
    identity_pixel=70.0,
    identity_feature=1.0,
    total_variation=0.0,
    adversarial=1.0,
    gradient_penalty=10.0,
)


def weights_of(changes: Mapping | None) -> dict[str, float]:
    """`WEIGHTS` with what differs.

    Raises:
        ValueError: An unknown term, or a weight that is negative or no number.
    """
    for name, value in (changes or {}).items():
        if name not in WEIGHTS:
            hint = nearest(name, WEIGHTS)
            raise ValueError(f"loss_weights takes {', '.join(WEIGHTS)}, got {name!r}{hint}")
        check_number(f"loss_weights.{name}", value)
    return WEIGHTS | dict(changes or {})


def gram(feat: Tensor) -> Tensor:
    """Products of the channels, mean over the places: (N, C, H, W) -> (N, C, C).

    Gatys et al. 2016, equation 3, over the number of places, so that sizes can be compared.
    """
    with torch.autocast(feat.device.type, enabled=False):  # half precision would overflow
        flat = feat.flatten(2).float() / feat[0, 0].numel() ** 0.5
        return flat @ flat.transpose(1, 2)


def total_variation(images: Tensor) -> Tensor:
    """Mean square of the differences between neighbouring pixels: (N, C, H, W) -> a number."""
    down = (images[..., 1:, :] - images[..., :-1, :]).square().mean()
    right = (images[..., 1:] - images[..., :-1]).square().mean()
    return down + right


def _style_of_statistics(one: Tensor, other: Tensor) -> Tensor:
    pairs = zip(statistics(one), statistics(other), strict=True)
    return sum(F.mse_loss(a, b) for a, b in pairs)


def _style_of_gram(one: Tensor, other: Tensor) -> Tensor:
    return F.mse_loss(gram(one), gram(other))


_STYLES = {"statistics": _style_of_statistics, "gram": _style_of_gram}


@MODELS.register_module()
class PerceptualLoss(nn.Module):
    """Distances of pictures as a frozen network sees them.

    Args:
        network: Config of a network of `networks`: `dict(type='robustnet_mm.VGGFeatures', ...)`.
        content_layers: Where the content is compared.
        style_layers: Where the style is compared.
        content_target: 'content', the features of the content (StyTr2); or 'adain', those with the
            statistics of the style (AdaIN, equation 12, in the space of this network).
        normalized: Compare contents with each channel at mean 0 and deviation 1 (StyTr2's code).
        style: 'statistics', mean and deviation of each channel (AdaIN, equation 13); or 'gram'
            (Gatys et al. 2016, equation 4, without its factor).
        bfloat16: Look in half precision, which a GPU or a CPU with AMX does faster; the
            distances are in float32 all the same. For training: figures want False.

    Raises:
        ValueError: An unknown name, no layers, or a normalised content whose target is 'adain', of
            which nothing of the style would be left.
    """

    def __init__(
        self,
        network: Mapping,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        content_target: str = "content",
        normalized: bool = True,
        style: str = "statistics",
        bfloat16: bool = False,
    ):
        super().__init__()
        check_dict("network", network, "dict(type='robustnet_mm.VGGFeatures', arch='vgg16', ...)")
        check_choice("content_target", content_target, ("content", "adain"))
        check_choice("style", style, _STYLES)
        check_flag("normalized", normalized)
        check_flag("bfloat16", bfloat16)
        if normalized and content_target == "adain":
            raise ValueError(
                "content_target='adain' differs from 'content' by the statistics alone, which "
                "normalized=True takes away: set normalized=False"
            )
        network = dict(deepcopy(network))
        check_text("network.type", network.get("type") or "", "'robustnet_mm.VGGFeatures'")
        if not content_layers or not style_layers:
            raise ValueError(
                f"content_layers and style_layers must name a layer each, got {content_layers} and "
                f"{style_layers}"
            )
        if network["type"].endswith("VGGFeatures"):
            network.setdefault("layers", [*dict.fromkeys([*content_layers, *style_layers])])
        self.network = Outside(MODELS.build(network))
        self.content_layers, self.style_layers = tuple(content_layers), tuple(style_layers)
        self.content_target, self.normalized = content_target, normalized
        self.style_distance = _STYLES[style]
        self.bfloat16 = bfloat16

    def features(self, images: Tensor) -> Features:
        """(N, 3, H, W), RGB in 0..1 -> name -> (N, C, h, w)

        Raises:
            ValueError: The network gives none of a layer that is compared.
        """
        half = torch.autocast(images.device.type, torch.bfloat16)
        with half if self.bfloat16 else nullcontext():
            found = {layer: feat.float() for layer, feat in self.network(images).items()}
        for layer in (*self.content_layers, *self.style_layers):
            if layer not in found:
                known = ", ".join(found)
                raise ValueError(f"layers must be among {known}, got {layer!r}")
        return found

    def content(self, result: Features, content: Features, style: Features) -> Tensor:
        """How far the result is from the content: the sum over the layers.

        Raises:
            ValueError: Pictures of different sizes.
        """
        total = 0.0
        for layer in self.content_layers:
            one, target = result[layer], content[layer]
            if one.shape != target.shape:
                raise ValueError(
                    f"contents are compared place by place: {tuple(one.shape)} at {layer}, and "
                    f"{tuple(target.shape)}: give pictures of one size"
                )
            if self.content_target == "adain":
                target = adain(target, style[layer])
            if self.normalized:
                one, target = normalize(one), normalize(target)
            total = total + F.mse_loss(one, target)
        return total

    def style(self, result: Features, style: Features) -> Tensor:
        """How far the result is from the style, of whatever size: the sum over the layers."""
        return sum(self.style_distance(result[at], style[at]) for at in self.style_layers)

    def identity(self, one: Features, other: Features) -> Tensor:
        """Mean square differences of the features themselves: the sum over all layers."""
        return sum(F.mse_loss(one[at], other[at]) for at in one)
