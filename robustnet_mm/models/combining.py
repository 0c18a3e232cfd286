"""How the logits of two heads become one prediction, and a loss that keeps them different.

All begin as the sum. What is learned, learns from the loss of the prediction alone, and the towers
and their heads do not learn from it: stacking (Wolpert, Stacked Generalization, 1992).
"""

import torch
from torch import Tensor, nn

from .zero_linear import ZeroLinear


class Sum(nn.Module):
    """cnn + vit, through which both towers learn where the prediction has a loss of its own."""

    def __init__(self, num_classes: int, widths: tuple[int, int]):
        super().__init__()

    def forward(self, logits: tuple[Tensor, Tensor], pooled) -> Tensor:
        cnn, vit = logits
        return cnn + vit


class WeightedSum(nn.Module):
    """a * cnn + b * vit, with a and b that start at one: a number each."""

    per_class = False

    def __init__(self, num_classes: int, widths: tuple[int, int]):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(2, num_classes if self.per_class else 1))

    def forward(self, logits: tuple[Tensor, Tensor], pooled) -> Tensor:
        cnn, vit = (one.detach() for one in logits)
        return self.weights[0] * cnn + self.weights[1] * vit


class ClassWeightedSum(WeightedSum):
    """The same with a number for each class."""

    per_class = True


class FusedHead(nn.Module):
    """cnn + vit + W [norm(pooled map), norm(pooled tokens)], with W = 0 at the start."""

    def __init__(self, num_classes: int, widths: tuple[int, int]):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths)
        self.linear = ZeroLinear(sum(widths), num_classes)

    def forward(self, logits: tuple[Tensor, Tensor], pooled) -> Tensor:
        cnn, vit = (one.detach() for one in logits)
        parts = [norm(one.detach()) for norm, one in zip(self.norms, pooled(), strict=True)]
        return cnn + vit + self.linear(torch.cat(parts, 1))


# combine -> the module, made from the number of classes and the widths of what both heads pool;
# called with both logits and a function that gives both pooled features, (N, width) each
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
