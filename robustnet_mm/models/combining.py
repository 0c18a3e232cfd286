"""How the logits of two heads become one prediction, and a loss that keeps them different.

All begin as the sum. What is learned, learns from the loss of the prediction, whose gradient stops
there, before the towers and their heads: stacking (Wolpert, Stacked Generalization, 1992).
"""

import torch
from torch import Tensor, nn

from .zero_linear import ZeroLinear


class Sum(nn.Module):
    """cnn + vit, through which both towers learn where the prediction has a loss of its own."""

    reads_pooled = False

    def __init__(self, num_classes: int, widths):
        super().__init__()

    def forward(self, logits: tuple[Tensor, Tensor], pooled) -> Tensor:
        cnn, vit = logits
        return cnn + vit


class WeightedSum(nn.Module):
    """(1 + a) * cnn + (1 + b) * vit: a number each, to which weight decay brings back the sum."""

    reads_pooled, per_class = False, False

    def __init__(self, num_classes: int, widths):
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(2, num_classes if self.per_class else 1))

    def forward(self, logits: tuple[Tensor, Tensor], pooled) -> Tensor:
        cnn, vit = (one.detach() for one in logits)
        return (1 + self.offsets[0]) * cnn + (1 + self.offsets[1]) * vit


class ClassWeightedSum(WeightedSum):
    """The same with a number for each class."""

    per_class = True


class FusedHead(nn.Module):
    """cnn + vit + W [norm(pooled map), norm(pooled tokens)], with W = 0 at the start."""

    reads_pooled = True

    def __init__(self, num_classes: int, widths: tuple[int | None, int | None]):
        super().__init__()
        if None in widths:
            raise ValueError(
                "combine='fused' needs heads that end in a linear layer, and that of the "
                f"{('cnn', 'vit')[widths.index(None)]} does not: take dict(in_channels=...) for "
                "it, or combine='class_weights'"
            )
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths)
        self.linear = ZeroLinear(sum(widths), num_classes)

    def forward(self, logits: tuple[Tensor, Tensor], pooled) -> Tensor:
        cnn, vit = (one.detach() for one in logits)
        parts = [norm(one.detach()) for norm, one in zip(self.norms, pooled, strict=True)]
        return cnn + vit + self.linear(torch.cat(parts, 1))


# combine -> the module, made from the number of classes and the widths of what both heads pool;
# called with both logits and, where it reads them, both pooled features, (N, width) each
COMBINATIONS = {
    "sum": Sum,
    "weights": WeightedSum,
    "class_weights": ClassWeightedSum,
    "fused": FusedHead,
}


def negative_correlation(cnn: Tensor, vit: Tensor) -> Tensor:
    """Logits (N, K) of two heads -> a loss below zero, the lower the less they say the same.

    For two members and their mean, (p1 - p)(p2 - p) = -(p1 - p2)^2 / 4 (Liu and Yao, Ensemble
    Learning via Negative Correlation, 1999), summed over the classes. An image counts by how sure
    the less sure head is.
    """
    ours, others = cnn.float().softmax(1), vit.float().softmax(1)
    sure = torch.minimum(ours.amax(1), others.amax(1)).detach()
    return -(sure * (ours - others).square().sum(1) / 4).mean()
