"""Pictures of what a model answers and why: one panel for one image.

A view is called as `(subject, picture, args) -> (panel (H, W, 3) uint8, arrays)`; `args` are the
settings of tools/analysis_tools/look.py.
"""

from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .cams import cam
from .detections import Detections, compare_detections, detect
from .gates import compare_towers
from .gradients import (
    activations_of,
    exchange_gradients,
    guided_backprop,
    integrated_gradients,
    saliency,
)
from .outputs import DetectionLogits, tower_scores
from .panels import bars, heat, panel, picture
from .places import towers_of
from .subject import Picture, Subject

View = tuple[np.ndarray, dict[str, np.ndarray]]


class Asked(NamedTuple):
    """What is explained in one row: a class by each head, or one detection."""

    title: str  # 'tench 0.93'
    functions: dict[str, tuple]  # column -> (model, output, target), as `saliency` takes them
    found: Detections | None = None  # to be drawn; None for a class


def asked(subject: Subject, shown: Picture, args: Namespace) -> list[Asked]:
    """The rows of a panel: the class that is asked for or predicted, or the best detections."""
    if subject.is_detector:
        return _asked_detections(subject, shown, args)
    scores = {
        name: p[0].cpu().numpy() for name, p in tower_scores(subject.model, shown.images).items()
    }
    target = int(scores["sum"].argmax()) if args.target is None else args.target
    _check_class(target, len(scores["sum"]))
    heads = {
        f"{_head(name, scores)}: {subject.name(target)} {p[target]:.2f}": (
            subject.model,
            name,
            target,
        )
        for name, p in scores.items()
    }
    best = int(scores["sum"].argmax())
    say = "predicted" if target == best else f"asked for; predicted: {subject.name(best)}"
    return [Asked(f"{subject.name(target)} ({say})", heads)]


def _head(name: str, scores: dict) -> str:
    return "classifier" if len(scores) == 1 else "sum" if name == "sum" else f"{name} head"


def _check_class(target: int, num_classes: int):
    if not 0 <= target < num_classes:
        raise ValueError(
            f"--target must be a class in 0..{num_classes - 1}, got {target}: leave it out for the "
            "predicted class"
        )


def _asked_detections(subject: Subject, shown: Picture, args: Namespace) -> list[Asked]:
    if args.target is not None:
        raise ValueError(
            "--target is for classifiers; a detector is asked about its best detections: see "
            "--score-thr and --most"
        )
    found = detect(subject.model, shown, args.score_thr, args.most)
    sizes = getattr(shown.images, "image_sizes", None)
    device = shown.images.device
    boxes = torch.as_tensor(found.boxes, device=device)
    labels = torch.as_tensor(found.labels, device=device)
    function = DetectionLogits(subject.model, boxes, labels, sizes)
    rows = []
    for k in range(len(boxes)):
        one = Detections(*(part if part is None else part[k : k + 1] for part in found))
        title = f"{subject.name(int(found.labels[k]))} {found.scores[k]:.2f}"
        rows.append(Asked(title, {f"detection: {title}": (function, "sum", k)}, one))
    return rows


def _caption(kind: str, shown: Picture, rows: list[Asked], subject: Subject, *more: str) -> str:
    what = rows[0].title if rows and not subject.is_detector else f"{len(rows)} detections"
    return "\n".join([f"{kind}: {Path(shown.path).name}, {what}", *more])


def _input(subject: Subject, shown: Picture, row: Asked):
    title = "input" if row.found is None else f"input: {row.title}"
    return picture(shown.pixels, title, row.found, subject.name)


def _nothing(kind: str, subject: Subject, shown: Picture, args: Namespace) -> View:
    """The panel of an image without detections."""
    caption = f"{kind}: {Path(shown.path).name}\nno detection with a score from {args.score_thr}"
    return panel([[picture(shown.pixels, "input")]], caption, wide=shown.aspect), {}


def _attribution(kind: str, method, label: str, signed: bool, *more: str):
    def view(subject: Subject, shown: Picture, args: Namespace) -> View:
        rows, arrays, cells = asked(subject, shown, args), {}, []
        if not rows:
            return _nothing(kind, subject, shown, args)
        for index, row in enumerate(rows):
            line = [_input(subject, shown, row)]
            for name, (model, output, target) in row.functions.items():
                values = shown.crop(method(model, shown.images, output, target))[0]
                arrays[f"{index}_{output}"] = values
                far = float(np.quantile(np.abs(values), 0.995)) or 1.0
                limits = (-far if signed else 0.0, far)
                title = name
                if method is guided_backprop:
                    title += _what_was_guided(model, shown, output, target, values)
                line.append(heat(values, title, label, signed=signed, limits=limits))
            cells.append(line)
        lines_ = list(more)
        if method is guided_backprop:
            counts = ", ".join(f"{n} {k}" for k, n in activations_of(subject.model).items())
            lines_.append(f"guided at ReLU only; the model's activations: {counts or 'no modules'}")
        return panel(
            cells, _caption(kind, shown, rows, subject, *lines_), wide=shown.aspect + 0.2
        ), arrays

    return view


def _what_was_guided(model, shown: Picture, output: str, target: int, values: np.ndarray) -> str:
    """Honest names: where no ReLU is on the way, guided backprop is the plain gradient."""
    plain = shown.crop(saliency(model, shown.images, output, target))[0]
    same = np.allclose(plain, values, rtol=1e-4, atol=1e-6 * float(plain.max()))
    return "\nplain gradient: no ReLU on the way" if same else "\nguided backprop"


_CLIPPED = "colours end at the 99.5 % quantile"
view_saliency = _attribution(
    "saliency",
    saliency,
    "|d logit / d pixel|",
    False,
    f"largest absolute gradient over the channels; {_CLIPPED}",
)
view_integrated_gradients = _attribution(
    "integrated gradients",
    integrated_gradients,
    "logit (share of the pixel)",
    True,
    f"from the data's mean colour, 32 steps, summed over channels; {_CLIPPED}",
)
view_guided_backprop = _attribution(
    "guided backprop", guided_backprop, "|gradient|", False, f"absolute values; {_CLIPPED}"
)


def view_cam(subject: Subject, shown: Picture, args: Namespace) -> View:
    """Each head on the last map (first line) and on the tokens (second line)."""
    rows, arrays, cells = asked(subject, shown, args), {}, []
    if not rows:
        return _nothing("cam", subject, shown, args)
    towers = dict(zip(("map", "tokens"), towers_of(subject.model), strict=True))
    layers = [name for name, tower in towers.items() if tower is not None] or ["map"]
    # Grad-CAM weighs whole channels, which says little about one of many objects
    method = args.method or ("hirescam" if subject.is_detector else "gradcam")
    for index, row in enumerate(rows):
        parts = [[], []]
        for layer, line in zip(layers, parts, strict=False):
            for name, (model, output, target) in row.functions.items():
                found = cam(model, shown.images, output, layer, method, target)
                values = shown.crop(found)[0]
                arrays[f"{index}_{output}_{layer}"] = values
                place = "last map" if layer == "map" else "tokens of the last block"
                title = f"{name}\non the {place}"
                if not values.any():
                    title += ": nothing speaks for it"
                line.append(heat(values, title, "relative", shown.pixels, limits=(0.0, 1.0)))
        first = _input(subject, shown, row)
        if subject.is_detector:  # one head: both layers in one line
            cells.append([first, *parts[0], *parts[1]])
        else:
            cells.append([first, *parts[0]])
            if parts[1]:
                cells.append([picture(shown.pixels, "input"), *parts[1]])
    more = f"{method}; each map relative to its own largest value"
    return panel(
        cells, _caption("cam", shown, rows, subject, more), wide=shown.aspect + 0.2
    ), arrays


def view_gradients(subject: Subject, shown: Picture, args: Namespace) -> View:
    """Each head, or detection, at the first and the last exchange."""
    rows, arrays, cells = asked(subject, shown, args), {}, []
    if not rows:
        return _nothing("gradients", subject, shown, args)
    for index, row in enumerate(rows):
        for name, (model, output, target) in row.functions.items():
            line = [picture(shown.pixels, f"input\n{name}", row.found, subject.name)]
            for place, maps in exchange_gradients(model, shown.images, output, target).items():
                values = shown.crop(maps)[0]
                arrays[f"{index}_{output}_{place.replace(' ', '_').replace(':', '')}"] = values
                title = place if values.any() else f"{place}\n{_no_part(place)}"
                line.append(heat(values, title, "norm of d logit / d feature"))
            cells.append(line)
    more = "gradients with respect to what the blocks of the first and the last exchange give"
    return panel(
        cells, _caption("gradients", shown, rows, subject, more), wide=shown.aspect + 0.2
    ), arrays


def _no_part(place: str) -> str:
    """A class token may matter where no patch does: after the last block it is all that is read."""
    return "no patch has a part in it" if "ViT" in place else "no part in it"


def view_predict(subject: Subject, shown: Picture, args: Namespace) -> View:
    """Detections beside the ground truth, or the best classes of each head."""
    kind = f"predict: {Path(shown.path).name}"
    if not subject.is_detector:
        scores = tower_scores(subject.model, shown.images)
        cells = [_best(subject, p[0].cpu().numpy(), _head(n, scores)) for n, p in scores.items()]
        arrays = {name: p[0].cpu().numpy() for name, p in scores.items()}
        caption = f"{kind}, {subject.name(int(arrays['sum'].argmax()))}"
        return panel([[picture(shown.pixels, "input"), *cells]], caption, wide=1.3), arrays
    found = detect(subject.model, shown, args.score_thr)
    cells = [picture(shown.pixels, f"{len(found.boxes)} detections", found, subject.name)]
    truth = args.annotations.of(shown) if args.annotations else None
    if truth is not None:
        title = f"ground truth: {len(truth.boxes)} objects"
        cells.append(picture(shown.pixels, title, truth, subject.name))
    more = f"scores from {args.score_thr}" + ("" if truth is not None else "; not annotated")
    return panel([cells], f"{kind}, {more}", shown.aspect, side=4.5), _arrays(found)


def _best(subject: Subject, scores: np.ndarray, title: str):
    order = np.argsort(-scores)[:5]
    return bars([subject.name(int(i)) for i in order], scores[order], f"{title}: best classes")


def _arrays(found: Detections) -> dict[str, np.ndarray]:
    return {name: value for name, value in found._asdict().items() if value is not None}


def view_compare(subject: Subject, shown: Picture, args: Namespace) -> View:
    """The same image with cnn only, vit only and both."""
    kind = f"compare: {Path(shown.path).name}"
    if not subject.is_detector:
        found = {
            n: p[0].cpu().numpy() for n, p in compare_towers(subject.model, shown.images).items()
        }
        cells = [_best(subject, scores, name) for name, scores in found.items()]
        more = (
            "'only': all gates closed, that head alone; 'both': gates as trained, sum of the heads"
        )
        caption = f"{kind}\n{more}"
        return panel([[picture(shown.pixels, "input"), *cells]], caption, wide=1.3), found
    found = compare_detections(subject.model, shown, args.score_thr)
    cells = [
        picture(shown.pixels, f"{name}: {len(one.boxes)} detections", one, subject.name)
        for name, one in found.items()
    ]
    more = (
        "cnn only: all gates closed, the neck sees the CNN's maps; vit only: exchanges closed and "
        "the CNN's maps zero,\nthe neck sees what the TowerNeck makes of the tokens; the weights "
        f"were trained with both; scores from {args.score_thr}"
    )
    arrays = {
        f"{n.replace(' ', '_')}_{k}": v for n, d in found.items() for k, v in _arrays(d).items()
    }
    return panel([cells], f"{kind}\n{more}", shown.aspect, side=4.5), arrays
