"""A picture optimised by itself: what a loss can ask for, without a model."""

import torch
from torch import Tensor

from robustnet_mm.arguments import check_number, check_whole

from .losses import WEIGHTS, PerceptualLoss


def optimize_picture(
    content: Tensor,
    style: Tensor,
    loss: PerceptualLoss,
    steps: int = 50,
    content_weight: float = WEIGHTS["content"],
    style_weight: float = WEIGHTS["style"],
) -> Tensor:
    """Optimise pixels by L-BFGS, from the content on (Gatys et al. 2016, section 3).

    It is a control for a model that is trained on the same loss. Pixels beyond 0..1 are cut in the
    end.

    Args:
        content: (1, 3, H, W), RGB in 0..1.
        style: (1, 3, h, w) of any size.
        loss: What content and style are compared by.
        steps: Of L-BFGS.
        content_weight: Of the content's loss.
        style_weight: Of the style's loss.

    Returns:
        (1, 3, H, W) in 0..1.

    Raises:
        ValueError: No steps, or a weight that is negative.
    """
    check_whole("steps", steps, 1)
    check_number("content_weight", content_weight)
    check_number("style_weight", style_weight)
    with torch.no_grad():
        of_content, of_style = loss.features(content), loss.features(style)
    picture = content.clone().requires_grad_()
    evaluations = 25 * steps  # as many as a line search may want
    optimizer = torch.optim.LBFGS(
        [picture], max_iter=steps, max_eval=evaluations, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = loss.features(picture)
        total = content_weight * loss.content(found, of_content, of_style)
        total = total + style_weight * loss.style(found, of_style)
        total.backward()
        return total

    optimizer.step(closure)
    return picture.detach().clamp(0, 1)
