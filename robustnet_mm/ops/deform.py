"""Deformable convolutions, version 1 (Dai et al. 2017) and 2 (Zhu et al. 2019)."""

import torch
from torch import Tensor

from .kernels import KERNELS, computable

# mmcv passes two buffers for its own kernels, `columns` and `ones`, which are not needed here


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **settings,
) -> None:
    """Fills `output` (N, C', H', W').

    Args:
        input: (N, C, H, W).
        weight: (C', C / groups, kH, kW).
        offset: (N, 2 * deformable_group * kH * kW, H', W'): dy and dx of each tap.
        output: (N, C', H', W').
        columns: Not used.
        ones: Not used.
        **settings: kW, kH, dW, dH, padW, padH, dilationW, dilationH, group, deformable_group and
            im2col_step, as mmcv passes them.
    """
    output.copy_(_convolve(input, weight, offset, None, None, _sizes(settings)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **settings,
) -> None:
    """Fills `grad_input` and `grad_offset`; shapes and settings as in `deform_conv_forward`."""
    grads = _gradients(grad_output, input, weight, offset, None, None, _sizes(settings))
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    **settings,
) -> None:
    """Adds `scale` times the gradient to `grad_weight`, the shape of the weight."""
    # torchvision's backward wants the weight as well; the weight's gradient does not depend on it
    weight = torch.zeros_like(grad_weight)
    grads = _gradients(grad_output, input, weight, offset, None, None, _sizes(settings))
    grad_weight += scale * grads[1].to(grad_weight.dtype)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **settings,
) -> None:
    """Fills `output` (N, C', H', W').

    Args:
        input: (N, C, H, W).
        weight: (C', C / groups, kH, kW).
        bias: (C',), read if `with_bias`.
        ones: Not used.
        offset: (N, 2 * deformable_group * kH * kW, H', W'): dy and dx of each tap.
        mask: (N, deformable_group * kH * kW, H', W'): the weight of each tap.
        output: (N, C', H', W').
        columns: Not used.
        with_bias: Whether to add the bias.
        **settings: kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
            group and deformable_group, as mmcv passes them.
    """
    given = bias if with_bias else None
    output.copy_(_convolve(input, weight, offset, mask, given, _modulated_sizes(settings)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **settings,
) -> None:
    """Fills all five gradients; shapes and settings as in `modulated_deform_conv_forward`."""
    given, sizes = bias if with_bias else None, _modulated_sizes(settings)
    grads = _gradients(grad_output, input, weight, offset, mask, given, sizes)
    targets = (grad_input, grad_weight, grad_offset, grad_mask, grad_bias)
    for target, grad in zip(targets, grads, strict=True):
        if target is not grad_bias or with_bias:
            target.copy_(grad)


def _sizes(s: dict) -> tuple[int, ...]:
    """Stride, padding and dilation (each down, across), groups: torchvision's order."""
    names = "dH dW padH padW dilationH dilationW group deformable_group"
    return tuple(s[name] for name in names.split())


def _modulated_sizes(s: dict) -> tuple[int, ...]:
    names = "stride_h stride_w pad_h pad_w dilation_h dilation_w group deformable_group"
    return tuple(s[name] for name in names.split())


def _operands(input, weight, offset, mask, bias) -> tuple[tuple[Tensor, ...], bool]:
    """torchvision's five tensors, zeros where there is no mask or bias; whether there is a mask."""
    feat = computable(input)
    stand_in = feat.new_zeros(len(feat), 1) if mask is None else mask
    added = feat.new_zeros(weight.size(0)) if bias is None else bias
    return (feat, *(t.to(feat) for t in (weight, offset, stand_in, added))), mask is not None


def _convolve(input, weight, offset, mask, bias, sizes: tuple) -> Tensor:
    tensors, masked = _operands(input, weight, offset, mask, bias)
    return KERNELS.deform_conv2d(*tensors, *sizes, masked)


def _gradients(grad_output, input, weight, offset, mask, bias, sizes: tuple) -> tuple:
    """Of input, weight, offset, mask and bias."""
    tensors, masked = _operands(input, weight, offset, mask, bias)
    grad = grad_output.to(tensors[0])
    return KERNELS._deform_conv2d_backward(grad, *tensors, *sizes, masked)
