"""The layer in which exchanges and necks end, so that they disturb nothing at the start."""

import torch
from torch import Tensor, nn


class ZeroLinear(nn.Linear):
    """`W x / sqrt(C) + b`, W and b zero at the start: (..., C) -> (..., D).

    A step of Adam moves every weight by the learning rate, and so a sum over C inputs by up to C
    times the rate: at the rate of fresh heads that undoes what both networks know. A mean, which is
    moved by the rate itself, hardly begins in a short fine-tuning. The root of C lies between; it
    is the scale of the NTK parametrisation (Jacot et al. 2018).
    """

    def reset_parameters(self):
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)  # the product is scaled while it is made, without a copy of W
        result = torch.addmm(self.bias, rows, self.weight.t(), alpha=self.in_features**-0.5)
        return result.unflatten(0, x.shape[:-1])
