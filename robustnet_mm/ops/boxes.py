"""Operators on boxes (x1, y1, x2, y2): suppression and overlaps."""

import numpy as np
import torch
from torch import Tensor

from .kernels import KERNELS, computable, in_full


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Non-maximum suppression: indices of the boxes kept, best first.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: A box that overlaps a better one by more is dropped.
        offset: 0 or 1, what a side is longer than the difference of its ends.
    """
    boxes, scores = computable(boxes), computable(scores)
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    # mmcv compares in float32: a box that overlaps by the threshold itself stays
    return KERNELS.nms(boxes, scores.to(boxes), float(np.float32(iou_threshold)))


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft NMS (Bodla et al. 2017): indices of the boxes that remain, as they are picked.

    Args:
        boxes: (N, 4), on the CPU, as mmcv hands them over.
        scores: (N,).
        dets: (N, 5), filled with the picked boxes and their lowered scores.
        iou_threshold: Overlap from which 'naive' and 'linear' lower a score.
        sigma: Width of 'gaussian'.
        min_score: A box whose score falls below is dropped.
        method: 0 naive (to nothing), 1 linear, 2 gaussian.
        offset: 0 or 1, as in `nms`.
    """
    box, score = (t.detach().float().clone().numpy() for t in (boxes, scores))
    left = np.arange(len(box))  # boxes not yet picked, in the order in which mmcv holds them
    picked, lowered = [], []
    while len(left):
        best = int(score[left].argmax())
        first, left[best] = left[best], left[0]
        picked.append(first)
        lowered.append(score[first])
        left = left[1:]
        overlap = _overlaps_with(box[first], box[left], offset)
        score[left] *= _weights(overlap, np.float32(iou_threshold), np.float32(sigma), method)
        left = _drop(left, score[left] < np.float32(min_score))
    keep = torch.tensor(picked, dtype=torch.long)
    dets[: len(keep), :4] = boxes[keep]
    dets[: len(keep), 4] = torch.tensor(lowered)
    return keep


def _weights(overlap: np.ndarray, threshold, sigma, method: int) -> np.ndarray:
    if method == 2:
        return np.exp(-(overlap * overlap) / sigma)
    lowered = np.zeros_like(overlap) if method == 0 else 1 - overlap
    return np.where(overlap >= threshold, lowered, np.float32(1))


def _drop(left: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Fills each gap with the last box that stays, as mmcv does: the order decides ties."""
    gaps = np.flatnonzero(dropped)
    end = len(left) - len(gaps)
    fillers = np.flatnonzero(~dropped)[::-1]
    inner = gaps[gaps < end]
    left[inner] = left[fillers[: len(inner)]]
    return left[:end]


def _overlaps_with(one: np.ndarray, others: np.ndarray, offset: int = 0) -> np.ndarray:
    """IoU of a box (4,) with others (N, 4): (N,), in float32 and in mmcv's order of operations."""
    size = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2]) + offset
    inter = np.maximum(size, 0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2] + offset).prod(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return inter / ((one[2:] - one[:2] + offset).prod() + areas - inter)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """For each box kept by NMS, its index followed by those that it suppresses.

    Args:
        dets: (N, 5), boxes and scores.
        iou_threshold: A box that overlaps a better one by as much is suppressed.
    """
    rows = dets.detach().float().cpu().numpy()
    left = (-rows[:, 4]).argsort(kind="stable")
    groups = []
    while len(left):
        first, left = left[0], left[1:]
        hit = _overlaps_with(rows[first, :4], rows[left, :4]) >= np.float32(iou_threshold)
        groups.append([int(first), *left[hit].tolist()])
        left = left[~hit]
    return groups


def bbox_overlaps(
    boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Fills `ious` with the overlaps of boxes (M, 4) and (N, 4).

    Args:
        boxes1: (M, 4).
        boxes2: (N, 4).
        ious: (M, N), or (M,) where `aligned`.
        mode: 0 for intersection over union, 1 over the area of the first box.
        aligned: The k-th with the k-th box.
        offset: 0 or 1, as in `nms`.
    """
    boxes1, boxes2 = in_full(boxes1, boxes2)  # the area of a large box is no float16
    first = boxes1 if aligned else boxes1[:, None]
    start = torch.max(first[..., :2], boxes2[..., :2])
    end = torch.min(first[..., 2:], boxes2[..., 2:])
    inter = (end - start + offset).clamp(min=0).prod(-1)
    area1, area2 = ((b[..., 2:] - b[..., :2] + offset).prod(-1) for b in (first, boxes2))
    whole = area1 if mode else area1 + area2 - inter
    ious.copy_(inter / whole.clamp(min=offset))
