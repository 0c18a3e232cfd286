"""Focal losses (Lin et al. 2017, equation 5), element by element."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .kernels import in_full

TINY = torch.finfo(torch.float32).tiny  # below which no logarithm is taken


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fills `output`.

    Args:
        input: Logits (N, C).
        target: Classes (N,); one that is not in 0..C-1 is background.
        weight: (C,), of the target's class, or empty.
        output: (N, C).
        gamma: How much easy examples count less.
        alpha: Weight of the positives; 1 - alpha of the negatives.
    """
    input, weight = in_full(input, weight)
    p, positive = input.sigmoid(), _one_hot(target, input.size(1))
    of_positive = -alpha * (1 - p) ** gamma * _log(p)
    of_negative = -(1 - alpha) * p**gamma * _log(1 - p)
    output.copy_(
        torch.where(positive, of_positive, of_negative) * _weights(weight, target)[:, None]
    )


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fills `grad_input` (N, C) with the derivative of each loss by its logit."""
    input, weight = in_full(input, weight)
    p, positive = input.sigmoid(), _one_hot(target, input.size(1))
    of_positive = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * _log(p))
    of_negative = -(1 - alpha) * p**gamma * (gamma * (1 - p) * _log(1 - p) - p)
    grad_input.copy_(
        torch.where(positive, of_positive, of_negative) * _weights(weight, target)[:, None]
    )


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fills `output`.

    Args:
        input: Probabilities (N, C), the softmax itself, as mmcv computes it before.
        target: Classes (N,); a negative one is ignored.
        weight: (C,), of the target's class, or empty.
        output: (N,).
        gamma: How much easy examples count less.
        alpha: Weight of all.
    """
    input, weight = in_full(input, weight)
    p = _of_target(input, target)
    loss = -alpha * (1 - p) ** gamma * _log(p)
    output.copy_(loss.masked_fill(target < 0, 0) * _weights(weight, target))


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    *,
    gamma: float,
    alpha: float,
) -> None:
    """Fills `grad_input` (N, C) with the derivative by the logits; `buff` (N,) holds a factor."""
    input, weight = in_full(input, weight)
    p = _of_target(input, target)
    factor = alpha * (gamma * (1 - p) ** (gamma - 1) * p * _log(p) - (1 - p) ** gamma)
    factor = factor.masked_fill(target < 0, 0) * _weights(weight, target)
    buff.copy_(factor)
    grad_input.copy_(factor[:, None] * (_one_hot(target, input.size(1)).to(input) - input))


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=TINY).log()


def _one_hot(target: Tensor, classes: int) -> Tensor:
    """(N,) -> (N, C) of bool."""
    return target[:, None] == torch.arange(classes, device=target.device)


def _of_target(probabilities: Tensor, target: Tensor) -> Tensor:
    return probabilities.gather(1, target.clamp(min=0)[:, None])[:, 0]


def _weights(weight: Tensor, target: Tensor) -> Tensor:
    """The weight of each target's class, (N,); 1 where there are none, and for background."""
    if not weight.numel():
        return weight.new_ones(len(target))
    return F.pad(weight, (1, 1), value=1.0)[target.clamp(-1, len(weight)) + 1]
