"""Operators that pool regions of interest (image index, x1, y1, x2, y2) of a feature map."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .kernels import KERNELS, computable

AVERAGE = 1  # mmcv's number for it; 0 is the maximum


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign (He et al. 2017, Mask R-CNN): fills `output`.

    Args:
        input: (N, C, H, W), in any memory layout.
        rois: (R, 5).
        output: (R, C, aligned_height, aligned_width).
        argmax_y: For the maximum, filled with the row of the sample that won; else empty.
        argmax_x: The same for the column.
        aligned_height: Bins down.
        aligned_width: Bins across.
        spatial_scale: Of the map to the image.
        sampling_ratio: Samples per bin and side; 0 for as many as the bin has pixels.
        pool_mode: `AVERAGE`, or 0 for the maximum of the samples.
        aligned: Whether pixel centres lie at halves.
    """
    feat, bins = computable(input), (aligned_height, aligned_width)
    boxes = rois.to(feat)
    if pool_mode == AVERAGE:
        args = (spatial_scale, *bins, sampling_ratio or -1, aligned)
        output.copy_(KERNELS.roi_align(feat, boxes, *args))
        return
    for some, samples in _by_samples(boxes, bins, spatial_scale, sampling_ratio, aligned):
        fine = (bins[0] * samples[0], bins[1] * samples[1])
        args = (spatial_scale, *fine, 1, aligned)  # each sample a bin of its own
        sampled = KERNELS.roi_align(feat, boxes[some], *args)
        best, where = F.max_pool2d(sampled, samples, return_indices=True)
        output[some] = best.to(output.dtype)
        argmax_y[some] = (where // fine[1]).to(argmax_y.dtype)
        argmax_x[some] = (where % fine[1]).to(argmax_x.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills `grad_input` (N, C, H, W); the other arguments as in `roi_align_forward`."""
    grad, bins, shape = computable(grad_output), (aligned_height, aligned_width), grad_input.shape
    boxes = rois.to(grad)
    backward = KERNELS._roi_align_backward
    if pool_mode == AVERAGE:
        args = (spatial_scale, *bins, *shape, sampling_ratio or -1, aligned)
        grad_input.copy_(backward(grad, boxes, *args))
        return
    for some, samples in _by_samples(boxes, bins, spatial_scale, sampling_ratio, aligned):
        fine = (bins[0] * samples[0], bins[1] * samples[1])
        where = argmax_y[some].long() * fine[1] + argmax_x[some].long()
        sampled = F.max_unpool2d(grad[some], where, samples, output_size=fine)
        args = (spatial_scale, *fine, *shape, 1, aligned)
        grad_input += backward(sampled, boxes[some], *args).to(grad_input.dtype)


def _by_samples(
    rois: Tensor, bins: tuple, spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Yields the regions that take as many samples: their indices, samples (down, across)."""
    if not len(rois):
        return
    if sampling_ratio > 0:
        yield torch.arange(len(rois), device=rois.device), (sampling_ratio, sampling_ratio)
        return
    size = (rois[:, [4, 3]] - rois[:, [2, 1]]) * spatial_scale  # (R, 2): height, width
    size = size if aligned else size.clamp(min=1)
    samples = (size / size.new_tensor(bins)).ceil().clamp(min=1).long()
    for pair in samples.unique(dim=0):
        yield (samples == pair).all(1).nonzero().flatten(), tuple(pair.tolist())


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """RoIPool (Girshick 2015, Fast R-CNN) with mmcv's bins, which are not torchvision's.

    torchvision rounds a region to whole pixels first; mmcv rounds the ends of each bin outwards.

    Args:
        input: (N, C, H, W).
        rois: (R, 5).
        output: (R, C, pooled_height, pooled_width), filled with each bin's maximum.
        argmax: The same shape, filled with its place h * W + w, or -1 for an empty bin.
        pooled_height: Bins down.
        pooled_width: Bins across.
        spatial_scale: Of the map to the image.
    """
    height, width = input.shape[2:]
    rows = _bins(rois[:, [2, 4]], pooled_height, spatial_scale, height)
    columns = _bins(rois[:, [1, 3]], pooled_width, spatial_scale, width)
    for k, image in enumerate(rois[:, 0].long().tolist()):
        ys, xs = (bins[k].any(0).nonzero().flatten() for bins in (rows, columns))
        if not len(ys) or not len(xs):  # outside the map
            output[k], argmax[k] = 0, -1
            continue
        feat = input[image][:, ys][:, :, xs]  # (C, H, W)
        outside = ~rows[k][:, ys, None], ~columns[k][:, xs]  # (PH, H, 1), (PW, W)
        value, h = feat[:, None].masked_fill(outside[0], -torch.inf).max(2)  # (C, PH, W)
        value, w = value[:, :, None].masked_fill(outside[1], -torch.inf).max(3)  # (C, PH, PW)
        empty = value == -torch.inf
        output[k] = value.masked_fill(empty, 0)
        argmax[k] = (ys[h.gather(2, w)] * width + xs[w]).masked_fill(empty, -1).to(argmax.dtype)


def _bins(ends: Tensor, count: int, spatial_scale: float, length: int) -> Tensor:
    """Ends of regions (R, 2) on an axis -> which of its pixels each bin has: (R, count, length)."""
    start, end = ends[:, :1] * spatial_scale, (ends[:, 1:] + 1) * spatial_scale
    step, number = (end - start) / count, torch.arange(count, device=ends.device)
    low, high = (number * step + start).floor(), ((number + 1) * step + start).ceil()
    pixel = torch.arange(length, device=ends.device)
    inside = (pixel >= low[..., None]) & (pixel < high[..., None])
    return inside & (end > start)[..., None]


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Adds to `grad_input` (N, C, H, W) at the places of `argmax`."""
    channels, area = grad_input.size(1), grad_input.size(2) * grad_input.size(3)
    channel = torch.arange(channels, device=rois.device)
    plane = rois[:, :1].long() * channels + channel  # (R, C)
    place = plane[..., None, None] * area + argmax  # (R, C, PH, PW)
    pooled = argmax >= 0
    grad_input.view(-1).index_add_(0, place[pooled], grad_output[pooled])
