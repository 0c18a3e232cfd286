"""Ground truth of any host as a share of each patch: foreground, and what is known."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

VOID = 255


def foreground_of(sample, classes: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """Foreground, and where it is known whether there is some: twice (H, W) bool.

    Args:
        sample: Of mmdet, with masks: all objects are foreground, and crowds are not known; or of
            mmseg, with a label map.
        classes: Of the label map, or of the objects; None for all objects.

    Raises:
        ValueError: No ground truth, or a label map and no classes.
    """
    if "gt_sem_seg" in sample:
        need_classes(classes)
        labels = sample.gt_sem_seg.data[0]
        wanted = torch.isin(labels, labels.new_tensor(tuple(classes)))
        return wanted & (labels != VOID), labels != VOID
    if "gt_instances" in sample and "masks" in sample.gt_instances:
        found = sample.gt_instances
        masks = _union(found.masks, None if classes is None else (found.labels, classes))
        ignored = sample.get("ignored_instances", {})
        unknown = _union(ignored.masks) if "masks" in ignored else torch.zeros_like(masks)
        return masks, ~unknown | masks
    raise ValueError(
        "the samples must have masks, got one without: load them in the pipeline, "
        "dict(type='LoadAnnotations', with_bbox=True, with_mask=True) of mmdet, or mmseg's"
    )


def need_classes(classes: Sequence[int] | None) -> None:
    """Raises: ValueError, of a label map whose foreground nobody named."""
    if classes is None:
        raise ValueError(
            "foreground must name classes of a label map, got None: their numbers, such as "
            "foreground=[3, 8]"
        )


def default_foreground(classes: Sequence[str]) -> list[int] | None:
    """All classes of label maps but the background, where it is called so and the first."""
    named = bool(classes) and classes[0].lower() == "background"
    return list(range(1, len(classes))) if named else None


def _union(masks, of=None) -> Tensor:
    """Of mmdet's masks (K, H, W): (H, W) bool"""
    stacked = masks.to_tensor(dtype=torch.bool, device="cpu")
    if of is not None:
        labels, classes = of
        stacked = stacked[torch.isin(labels.cpu(), torch.tensor(classes))]
    return stacked.any(0)


def patch_shares(
    foreground: Tensor,
    known: Tensor,
    size: tuple[int, int],
    grid: tuple[int, int],
    patch: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Share of foreground in what is known of each patch, and share of the patch that is known.

    Args:
        foreground: (H, W) bool.
        known: The same.
        size: (height, width) of the image that the model saw, without padding; masks of another
            size are scaled.
        grid: (h, w) of the patches.
        patch: (height, width) of a patch in pixels.

    Returns:
        Twice (h, w), in 0..1.
    """
    both = torch.stack([foreground & known, known]).float()[None]
    both = F.interpolate(both, tuple(size), mode="nearest-exact")
    height, width = (n * side for n, side in zip(grid, patch, strict=True))
    both = F.pad(both, (0, width - size[1], 0, height - size[0]))  # padding is not known
    of, all_known = F.avg_pool2d(both, patch)[0]
    return of / all_known.clamp_min(1e-12), all_known
