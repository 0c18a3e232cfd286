"""Pictures of why: what in the image a class, or each of the best detections, hangs on.

A view takes a path, or a `Picture` that was read, and gives (panel (H, W, 3) uint8, arrays). Where
it has these settings, they are

    target: Class of a classifier, by default the predicted one.
    score_thr, most: Least score and number of the detections of a detector.

Raises:
    ValueError: `target` is no class, or the subject is a detector.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from .asked import View, ask, caption, input_cell, nothing_found
from .cams import cam_of, tap_of
from .gradients import (
    activations_of,
    exchange_taps,
    gradient_norms,
    guided_backprop,
    integrated_gradients,
    saliency,
)
from .panels import heat, panel, photo
from .places import towers_of
from .subject import Picture, Subject

_CLIPPED = "colours end at the 99.5 % quantile"


class _Pixels(NamedTuple):
    """How an attribution to pixels is made and told."""

    kind: str
    method: Callable  # (function, images, output, target) -> (N, H, W)
    label: str  # at the colour bar
    more: str  # in the caption
    signed: bool = False
    note: Callable | None = None  # (function, shown, output, target, values) -> more of a title


def view_saliency(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    target: int | None = None,
    score_thr: float = 0.3,
    most: int = 3,
) -> View:
    """Largest absolute gradient of each logit at each pixel."""
    more = f"largest absolute gradient over the channels; {_CLIPPED}"
    how = _Pixels("saliency", saliency, "|d logit / d pixel|", more)
    return _draw_pixels(how, subject, picture, target, score_thr, most)


def view_integrated_gradients(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    target: int | None = None,
    score_thr: float = 0.3,
    most: int = 3,
) -> View:
    """What each pixel adds to each logit, from the data's mean colour on."""
    more = f"from the data's mean colour, 32 steps, summed over channels; {_CLIPPED}"
    label = "logit (share of the pixel)"
    how = _Pixels("integrated gradients", integrated_gradients, label, more, signed=True)
    return _draw_pixels(how, subject, picture, target, score_thr, most)


def view_guided_backprop(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    target: int | None = None,
    score_thr: float = 0.3,
    most: int = 3,
) -> View:
    """Gradients with their negative parts stopped at each ReLU."""
    counts = ", ".join(f"{n} {k}" for k, n in activations_of(subject.model).items())
    more = (
        f"absolute values; {_CLIPPED}\n"
        f"guided at ReLU only; the model's activations: {counts or 'no modules'}"
    )
    how = _Pixels("guided backprop", guided_backprop, "|gradient|", more, note=_what_was_guided)
    return _draw_pixels(how, subject, picture, target, score_thr, most)


def _draw_pixels(
    how: _Pixels, subject: Subject, picture, target: int | None, score_thr: float, most: int
) -> View:
    shown = subject.picture(picture)
    asked = ask(subject, shown, target, score_thr, most)
    if not asked.rows:
        return nothing_found(how.kind, shown, score_thr)
    arrays, cells = {}, []
    for index, row in enumerate(asked.rows):
        line = [input_cell(subject, shown, row)]
        for title, (output, goal) in row.columns.items():
            values = shown.crop(how.method(asked.function, shown.images, output, goal))[0]
            arrays[f"{index}_{output}"] = values
            far = float(np.quantile(np.abs(values), 0.995)) or 1.0
            limits = (-far if how.signed else 0.0, far)
            if how.note is not None:
                title += how.note(asked.function, shown, output, goal, values)
            line.append(heat(values, title, how.label, signed=how.signed, limits=limits))
        cells.append(line)
    text = caption(how.kind, subject, shown, asked.rows, how.more)
    return panel(cells, text, wide=shown.aspect + 0.2), arrays


def _what_was_guided(
    function: nn.Module, shown: Picture, output: str, target: int, values: np.ndarray
) -> str:
    """Honest names: where no ReLU is on the way, guided backprop is the plain gradient."""
    plain = shown.crop(saliency(function, shown.images, output, target))[0]
    same = np.allclose(plain, values, rtol=1e-4, atol=1e-6 * float(plain.max()))
    return "\nplain gradient: no ReLU on the way" if same else "\nguided backprop"


def view_cam(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    target: int | None = None,
    method: str | None = None,
    score_thr: float = 0.3,
    most: int = 3,
) -> View:
    """Each head on the last map (first line) and on the tokens (second line), of one pass.

    `method` is one of `cams.METHODS`: by default Grad-CAM, and HiResCAM for detections.
    """
    shown = subject.picture(picture)
    towers = dict(zip(("map", "tokens"), towers_of(subject.model), strict=True))
    layers = [name for name, tower in towers.items() if tower is not None] or ["map"]
    taps = {layer: tap_of(subject.model, layer, shown.images) for layer in layers}
    asked = ask(subject, shown, target, score_thr, most, taps)
    if not asked.rows:
        return nothing_found("cam", shown, score_thr)
    # Grad-CAM weighs whole channels, which says little about one of many objects
    method = method or ("hirescam" if subject.is_detector else "gradcam")
    arrays, cells = {}, []
    for index, row in enumerate(asked.rows):
        parts = [[], []]
        for layer, line in zip(layers, parts, strict=False):
            for title, (output, goal) in row.columns.items():
                values = shown.crop(cam_of(asked.ran, layer, output, goal, method))
                arrays[f"{index}_{output}_{layer}"] = values
                title += f"\non the {'last map' if layer == 'map' else 'tokens of the last block'}"
                title += "" if values.any() else ": nothing speaks for it"
                line.append(heat(values, title, "relative", shown.pixels, limits=(0.0, 1.0)))
        first = input_cell(subject, shown, row)
        if subject.is_detector:  # one head: both layers in one line
            cells.append([first, *parts[0], *parts[1]])
        else:
            cells.append([first, *parts[0]])
            if parts[1]:
                cells.append([photo(shown.pixels, "input"), *parts[1]])
    more = f"{method}; each map relative to its own largest value"
    text = caption("cam", subject, shown, asked.rows, more)
    return panel(cells, text, wide=shown.aspect + 0.2), arrays


def view_gradients(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    target: int | None = None,
    score_thr: float = 0.3,
    most: int = 3,
) -> View:
    """Each head, or detection, at the first and the last exchange, of one pass."""
    shown = subject.picture(picture)
    taps = exchange_taps(subject.model, shown.images)
    asked = ask(subject, shown, target, score_thr, most, taps)
    if not asked.rows:
        return nothing_found("gradients", shown, score_thr)
    arrays, cells = {}, []
    for index, row in enumerate(asked.rows):
        for title, (output, goal) in row.columns.items():
            line = [photo(shown.pixels, f"input\n{title}", row.found, subject.name)]
            for place, norms in gradient_norms(asked.ran, output, goal).items():
                values = shown.crop(norms)
                arrays[f"{index}_{output}_{place.replace(' ', '_').replace(':', '')}"] = values
                above = place if values.any() else f"{place}\n{_no_part(place)}"
                line.append(heat(values, above, "norm of d logit / d feature"))
            cells.append(line)
    more = "gradients with respect to what the blocks of the first and the last exchange give"
    text = caption("gradients", subject, shown, asked.rows, more)
    return panel(cells, text, wide=shown.aspect + 0.2), arrays


def _no_part(place: str) -> str:
    """A class token may matter where no patch does: after the last block it is all that is read."""
    return "no patch has a part in it" if "ViT" in place else "no part in it"
