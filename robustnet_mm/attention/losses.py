"""A loss that asks attention to mean something."""

import torch
from torch import Tensor, nn

from robustnet_mm.arguments import check_number
from robustnet_mm.registry import MODELS


@MODELS.register_module()
class MeaningfulAttention(nn.Module):
    """Attention goes to the foreground where it is known, else to few places, each head its own.

    Where there are masks: - ln of the share of a head's attention that lies on the foreground,
    mean over heads and over the images that have foreground and background. Where there are none:
    H(a) / ln N, mean over heads, plus the mean cosine between two heads.

    Args:
        loss_weight: What it is multiplied by.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_number("loss_weight", loss_weight)
        self.loss_weight = loss_weight

    def forward(
        self, maps: Tensor, foreground: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """A scalar.

        Args:
            maps: (N, K, h, w), not negative.
            foreground: (N, h, w) in 0..1, the share of each patch.
            known: (N, h, w) in 0..1.
        """
        weight = torch.ones_like(maps[:, 0]) if known is None else known.to(maps)
        a = maps.float() * weight[:, None]
        a = (a / a.sum((2, 3), keepdim=True).clamp_min(1e-12)).flatten(2)
        found = (
            self._unguided(a, weight) if foreground is None else self._guided(a, foreground, weight)
        )
        return self.loss_weight * found

    def _guided(self, a: Tensor, foreground: Tensor, weight: Tensor) -> Tensor:
        share = (foreground.to(a) * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
        told = (share > 0) & (share < 1)
        if not told.any():
            return a.sum() * 0.0  # every parameter keeps its gradient
        mass = (a[told] * foreground[told].to(a).flatten(1)[:, None]).sum(2)
        return -mass.clamp_min(1e-6).log().mean()

    def _unguided(self, a: Tensor, weight: Tensor) -> Tensor:
        number = (weight > 0).flatten(1).sum(1, keepdim=True).clamp_min(2)
        entropy = -torch.special.xlogy(a, a.clamp_min(1e-12)).sum(2)
        entropy = (entropy / number.log()).mean()
        unit = nn.functional.normalize(a, dim=2)
        cosine, heads = unit @ unit.transpose(1, 2), a.size(1)
        if heads == 1:
            return entropy
        among = (cosine.sum((1, 2)) - heads) / (heads * (heads - 1))
        return entropy + among.mean()
