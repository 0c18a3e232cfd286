"""Pictures of what a model answers, with both towers and with one of them.

A view takes a path, or a `Picture` that was read, and gives (panel (H, W, 3) uint8, arrays).
"""

from pathlib import Path

import numpy as np

from robustnet_mm.attention.masks import VOID

from .asked import View, head_title, refuse_segmentor
from .closing import compare_towers
from .detections import Detections, compare_detections, detect
from .label_maps import segment
from .outputs import tower_scores
from .panels import Cell, bars, panel, photo, regions
from .subject import Picture, Subject


def view_predict(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    score_thr: float = 0.3,
    annotations: str | None = None,
) -> View:
    """Detections or labels beside the ground truth, or the best classes of each head.

    Args:
        subject: Any classifier or detector.
        picture: The image.
        score_thr: Least score of detections.
        annotations: COCO file of the ground truth; by default that of the config's test data, which
            of a segmentor has label maps.
    """
    shown = subject.picture(picture)
    kind = f"predict: {Path(shown.path).name}"
    if subject.is_segmentor:
        return _segmented(subject, shown, kind)
    if not subject.is_detector:
        scores = tower_scores(subject.model, shown.images)
        arrays = {name: p[0].cpu().numpy() for name, p in scores.items()}
        cells = [_best(subject, p, head_title(name, arrays)) for name, p in arrays.items()]
        text = f"{kind}, {subject.name(int(arrays['sum'].argmax()))}"
        return panel([[photo(shown.pixels, "input"), *cells]], text, wide=1.3), arrays
    found = detect(subject.model, shown, score_thr)
    cells = [photo(shown.pixels, f"{len(found.boxes)} detections", found, subject.name)]
    known = subject.annotations(annotations)
    truth = None if known is None else known.of(shown)
    if truth is not None:
        title = f"ground truth: {len(truth.boxes)} objects"
        cells.append(photo(shown.pixels, title, truth, subject.name))
    more = f"scores from {score_thr}" + ("" if truth is not None else "; not annotated")
    return panel([cells], f"{kind}, {more}", shown.aspect, side=4.5), _arrays(found)


def _segmented(subject: Subject, shown: Picture, kind: str) -> View:
    arrays = dict(labels=segment(subject.model, shown))
    truth = subject.labels(shown)
    cells = [photo(shown.pixels, "input"), regions(shown.pixels, arrays["labels"], subject.name)]
    if truth is not None:
        arrays["truth"] = truth
        cells.append(regions(shown.pixels, truth, subject.name, "ground truth"))
        right = (arrays["labels"] == truth)[truth != VOID].mean()
        kind += f", {100 * right:.1f} % of the known pixels are right"
    return panel([cells], kind, shown.aspect + 0.4, side=4.5), arrays


def _best(subject: Subject, scores: np.ndarray, title: str) -> Cell:
    order = np.argsort(-scores)[:5]
    return bars([subject.name(int(i)) for i in order], scores[order], f"{title}: best classes")


def _arrays(found: Detections) -> dict[str, np.ndarray]:
    return {name: value for name, value in found._asdict().items() if value is not None}


def view_compare(
    subject: Subject, picture: Picture | str | Path, *, score_thr: float = 0.3
) -> View:
    """The same image with cnn only, vit only and both; `score_thr` is that of detections."""
    shown = subject.picture(picture)
    refuse_segmentor(subject)
    kind = f"compare: {Path(shown.path).name}"
    if not subject.is_detector:
        found = {
            n: p[0].cpu().numpy() for n, p in compare_towers(subject.model, shown.images).items()
        }
        cells = [_best(subject, scores, name) for name, scores in found.items()]
        more = "'only': exchanges closed, that head alone; 'both': as trained, sum of the heads"
        return panel([[photo(shown.pixels, "input"), *cells]], f"{kind}\n{more}", wide=1.3), found
    found = compare_detections(subject.model, shown, score_thr)
    cells = [
        photo(shown.pixels, f"{name}: {len(one.boxes)} detections", one, subject.name)
        for name, one in found.items()
    ]
    more = (
        "cnn only: exchanges closed, the neck sees the CNN's maps; vit only: exchanges closed and "
        "the CNN's maps zero,\nthe neck sees what the TowerNeck makes of the tokens; the weights "
        f"were trained with both; scores from {score_thr}"
    )
    arrays = {
        f"{n.replace(' ', '_')}_{k}": v for n, d in found.items() for k, v in _arrays(d).items()
    }
    return panel([cells], f"{kind}\n{more}", shown.aspect, side=4.5), arrays
