"""What a picture explains: a class by each head of a classifier, or the best detections.

Each is a line of the panel, and each column of it explains one logit.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from robustnet_mm.models.sized_images import own_sizes

from .detections import Detections, detect
from .outputs import DetectionLogits, Logits, softmax_of, tower_scores
from .panels import Cell, panel, photo
from .passes import Pass, Tap, run_once
from .subject import Picture, Subject

View = tuple[np.ndarray, dict[str, np.ndarray]]  # panel (H, W, 3) uint8, and what it shows


class Row(NamedTuple):
    """What is explained in one line: a class by each head, or one detection."""

    title: str  # 'tench 0.93'
    columns: dict[str, tuple[str, int]]  # what stands above a column -> (output, target)
    found: Detections | None = None  # to be drawn; None for a class


class Asked(NamedTuple):
    """All that is explained in one picture.

    Attributes:
        function: What the columns' outputs and targets are of: the classifier or `DetectionLogits`.
        rows: None where nothing was detected.
        ran: The pass whose gradients explain it, if there were taps.
    """

    function: nn.Module
    rows: list[Row]
    ran: Pass | None


def ask(
    subject: Subject,
    shown: Picture,
    target: int | None,
    score_thr: float,
    most: int,
    taps: Mapping[str, Tap] | None = None,
) -> Asked:
    """The class that is asked for or predicted, or the best detections.

    Args:
        subject: A classifier or a two-stage detector.
        shown: One of its pictures.
        target: The class, by default the predicted one; of classifiers alone.
        score_thr: Least score of detections.
        most: Number of detections.
        taps: Where gradients will be asked for. A classifier then runs once for all its heads, and
            a detector once more than to detect.

    Raises:
        ValueError: `target` is no class, or the subject is a detector, or a segmentor.
    """
    refuse_segmentor(subject)
    if subject.is_detector:
        return _ask_detector(subject, shown, target, score_thr, most, taps)
    if taps is None:
        ran, scores = None, tower_scores(subject.model, shown.images)
    else:
        sizes = own_sizes(shown.images)[1]
        ran = run_once(Logits(subject.model, sizes=sizes), shown.images, taps)
        scores = softmax_of(ran.logits)
    scores = {name: p[0].cpu().numpy() for name, p in scores.items()}
    best = int(scores["sum"].argmax())
    target = best if target is None else target
    _check_class(target, len(scores["sum"]))
    name = subject.name(target)
    columns = {
        f"{head_title(output, scores)}: {name} {p[target]:.2f}": (output, target)
        for output, p in scores.items()
    }
    say = "predicted" if target == best else f"asked for; predicted: {subject.name(best)}"
    return Asked(subject.model, [Row(f"{name} ({say})", columns)], ran)


def refuse_segmentor(subject: Subject) -> None:
    """Raises: ValueError, where there is neither one class nor an object to be explained."""
    if subject.is_segmentor:
        raise ValueError(
            "classes and detections are explained, got a segmentor, which names each pixel: take "
            "attention, significance, receptive-field, features, edges, exchange or predict"
        )


def head_title(output: str, scores: dict) -> str:
    """How a picture calls an output of a classifier."""
    return "classifier" if len(scores) == 1 else "sum" if output == "sum" else f"{output} head"


def _check_class(target: int, num_classes: int):
    if not 0 <= target < num_classes:
        raise ValueError(
            f"target must be a class in 0..{num_classes - 1}, got {target}: leave it out for the "
            "predicted class"
        )


def _ask_detector(subject: Subject, shown: Picture, target, score_thr, most, taps) -> Asked:
    if target is not None:
        raise ValueError(
            "target is for classifiers; a detector is asked about its best detections: see "
            "score_thr and most"
        )
    found = detect(subject.model, shown, score_thr, most)
    sizes = own_sizes(shown.images)[1]
    device = shown.images.device
    boxes, labels = (torch.as_tensor(part, device=device) for part in (found.boxes, found.labels))
    function = DetectionLogits(subject.model, boxes, labels, sizes)
    rows = []
    for k in range(len(boxes)):
        one = Detections(*(part if part is None else part[k : k + 1] for part in found))
        title = f"{subject.name(int(found.labels[k]))} {found.scores[k]:.2f}"
        rows.append(Row(title, {f"detection: {title}": ("sum", k)}, one))
    ran = run_once(function, shown.images, taps) if rows and taps is not None else None
    return Asked(function, rows, ran)


def caption(kind: str, subject: Subject, shown: Picture, rows: list[Row], *more: str) -> str:
    """Its first line says what is explained in which image."""
    what = rows[0].title if rows and not subject.is_detector else f"{len(rows)} detections"
    return "\n".join([f"{kind}: {Path(shown.path).name}, {what}", *more])


def input_cell(subject: Subject, shown: Picture, row: Row) -> Cell:
    """The image, with the detection that the line is about."""
    title = "input" if row.found is None else f"input: {row.title}"
    return photo(shown.pixels, title, row.found, subject.name)


def nothing_found(kind: str, shown: Picture, score_thr: float) -> View:
    """The panel of an image without detections."""
    text = f"{kind}: {Path(shown.path).name}\nno detection with a score from {score_thr}"
    return panel([[photo(shown.pixels, "input")]], text, wide=shown.aspect), {}
