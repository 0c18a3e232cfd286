"""Multi-scale deformable attention (Zhu et al. 2021, Deformable DETR, equation 3)."""

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    *,
    im2col_step: int,
) -> Tensor:
    """Samples each level at the locations and sums by weight: (N, Q, heads * d).

    Args:
        value: (N, L, heads, d), the levels one after another.
        value_spatial_shapes: (levels, 2), height and width of each.
        value_level_start_index: Not used: it follows from the shapes.
        sampling_locations: (N, Q, heads, levels, points, 2), x and y in 0..1.
        attention_weights: (N, Q, heads, levels, points).
        im2col_step: Not used.
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    shapes = value_spatial_shapes.tolist()
    sampled = multi_scale_deformable_attn_pytorch(
        value, shapes, sampling_locations, attention_weights
    )
    return sampled.to(value.dtype)  # autocast samples in float32


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    *,
    im2col_step: int,
) -> None:
    """Fills the gradients of values, locations and weights; shapes as in the forward pass."""
    inputs = [t.detach().requires_grad_() for t in (value, sampling_locations, attention_weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(
            inputs[0],
            value_spatial_shapes,
            value_level_start_index,
            *inputs[1:],
            im2col_step=im2col_step,
        )
    targets = (grad_value, grad_sampling_loc, grad_attn_weight)
    for target, grad in zip(targets, torch.autograd.grad(output, inputs, grad_output), strict=True):
        target.copy_(grad)
