"""Pictures of what happens on the way: features, edges, exchanges, reach, weights.

A view takes a path, or a `Picture` that was read, and gives (panel (H, W, 3) uint8, arrays); that
of weights takes checkpoints instead.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robustnet_mm.models.probe import channel_strengths, exchange_shares

from .asked import View, refuse_segmentor
from .features import edges, features, pca_colours, top_channels
from .gradients import half_of, receptive_field
from .outputs import tower_scores
from .panels import heat, histogram, in_lines, lines, panel, photo
from .places import default_names
from .randomisation import cascading_randomisation
from .subject import Picture, Subject
from .weights import weight_histograms

_PAGE = (5, 4)  # rows and columns of histograms on a page


def view_features(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    modules: list[str] | None = None,
    channels: int = 4,
) -> View:
    """A line for each module: mean of channels, the strongest channels, tokens as colours.

    Args:
        subject: Any classifier or detector.
        picture: The image.
        modules: Names of `model.named_modules()`; by default the ends of each stage.
        channels: How many of the strongest channels are shown.

    Raises:
        ValueError: Unknown name, a module that did not run, or one that gives no map.
    """
    shown = subject.picture(picture)
    found = features(subject.model, shown.images, modules)
    rows, arrays = [[photo(shown.pixels, "input")]], {}
    for name, feat in found.items():
        feat = shown.crop(feat)[0]
        arrays[name] = feat
        line = [heat(feat.mean(0), f"{name}\nmean of {len(feat)} channels", "activation")]
        for channel in top_channels(feat, channels):
            line.append(heat(feat[channel], f"channel {channel}", "activation"))
        if ".vit." in name or "squeeze" in name:
            line.append(photo(pca_colours(feat), "tokens as colours (PCA)"))
        rows.append(line)
    caption = (
        f"features: {Path(shown.path).name}\nchannels of the largest root mean square; colours: "
        "the first three principal components as red, green, blue"
    )
    return panel(rows, caption, wide=shown.aspect + 0.2), arrays


def view_edges(
    subject: Subject, picture: Picture | str | Path, *, modules: list[str] | None = None
) -> View:
    """Sobel of the input and of the mean channel of `modules`, as `view_features` takes them."""
    shown = subject.picture(picture)
    grey = shown.pixels.mean(2).astype(np.float32)
    maps = {"input, mean of colours": grey}
    names = modules or default_names(subject.model)
    for name, feat in features(subject.model, shown.images, names).items():
        maps[f"{name}\nmean of channels"] = shown.crop(feat)[0].mean(0)
    rows, arrays = [], {}
    for name, one in maps.items():
        dx, dy = edges(one[None])[0]
        arrays[name.partition("\n")[0]] = np.stack([dx, dy])
        rows.append(
            [
                heat(one, name, "value"),
                heat(dx, "d/dx: vertical edges", "Sobel", signed=True),
                heat(dy, "d/dy: horizontal edges", "Sobel", signed=True),
            ]
        )
    caption = f"edges: {Path(shown.path).name}, Sobel 3 x 3"
    return panel(rows, caption, wide=shown.aspect + 0.2), arrays


def view_receptive_field(
    subject: Subject, picture: Picture | str | Path, *, point: tuple[int, int] | None = None
) -> View:
    """What one place of each tower's last features hangs on: its effective receptive field.

    Args:
        subject: A model with a tower of ours.
        picture: The image.
        point: (x, y) in pixels, where the place lies; None: the centre.

    Raises:
        ValueError: The point lies outside the image, or there is no tower of ours.
    """
    shown = subject.picture(picture)
    height, width = shown.pixels.shape[:2]
    point = (width // 2, height // 2) if point is None else tuple(point)
    found = receptive_field(subject.model, shown.images, point)
    cells, arrays = [photo(shown.pixels, f"the place {point}", point=point)], {}
    for tower, field in found.items():
        field = field[0, :height, :width]
        arrays[tower] = field
        share = 100 * half_of(field)
        title = f"{tower}: half of it in {share:.1f} % of the image"
        cells.append(heat(np.sqrt(field), title, "root of |gradient|", shown.pixels))
    caption = (
        f"receptive field: {Path(shown.path).name}\ngradient of the channels' sum at one place, "
        "summed over colours, as a share of all; with both towers it goes through the exchanges"
    )
    return panel([cells], caption, wide=shown.aspect + 0.2, side=4.0), arrays


def view_exchange(subject: Subject, picture: Picture | str | Path) -> View:
    """How much each exchange adds, how far its channels are open, and where it adds."""
    shown = subject.picture(picture)
    found = exchange_shares(subject.model, shown.images)
    strengths = channel_strengths(subject.model)
    shares, arrays, cells = {}, {}, []
    for name in ("squeeze", "expand"):
        parts = [getattr(one, name) for one in found]
        shares[name] = np.array([np.nan if one is None else one.share[0] for one in parts])
        arrays[f"{name}_share"] = shares[name]
        for k, (one, added) in enumerate(zip(found, parts, strict=True)):
            if added is None:
                continue
            where = shown.crop(added.where)[0]
            arrays[f"exchange_{k}_{name}"] = where
            u, v = one.pair
            path = (
                f"CNN block {u} to tokens" if name == "squeeze" else f"tokens to CNN block {u + 1}"
            )
            title = f"exchange {k}, {name}:\n{path}\n{added.share[0]:.3f} of what it is added to"
            cells.append(heat(where, title, "relative norm"))
    shares = {name: value for name, value in shares.items() if np.isfinite(value).any()}
    chart = lines(shares, "added / what it is added to", ("exchange", "ratio of norms"))
    first = [photo(shown.pixels, "input"), chart]
    for name in ("squeeze", "expand"):
        values = [value for key, value in strengths.items() if key.endswith(name)]
        if values:
            first.append(_strengths_histogram(values, f"strength of {name} by channel"))
    arrays.update({f"{key.replace(' ', '_')}_strength": v for key, v in strengths.items()})
    without = "" if strengths else "; these units are always open"
    caption = (
        f"exchange: {Path(shown.path).name}\nnorms over channels; maps relative to the root mean "
        f"square of what is added to{without}"
    )
    return panel([first, *in_lines(cells, 4)], caption, wide=shown.aspect + 0.2), arrays


def _strengths_histogram(values: list[np.ndarray], title: str):
    low, high = (float(f(np.concatenate(values))) for f in (np.min, np.max))
    if low == high:
        low, high = low - 0.5, high + 0.5
    bins = np.linspace(low, high, 31)
    shares = np.stack([np.histogram(one, bins)[0] / one.size for one in values])
    return histogram(bins, shares, title, [f"exchange {k}" for k in range(len(values))])


def view_randomisation(
    subject: Subject, picture: Picture | str | Path, *, target: int | None = None
) -> View:
    """Rank correlation of each head's saliency with itself under ever more random weights."""
    shown = subject.picture(picture)
    refuse_segmentor(subject)
    if subject.is_detector:
        raise ValueError("randomisation is for classifiers, got a detector's config: take another")
    heads = list(tower_scores(subject.model, shown.images))
    found = {
        head: cascading_randomisation(subject.model, shown.images, head, target=target)
        for head in heads
    }
    curves = {head: np.concatenate(list(steps.values())) for head, steps in found.items()}
    steps = list(found["sum"])
    axes = ("what was replaced last", "rank correlation")
    chart = lines(curves, "Spearman correlation with the trained map", axes, steps)
    caption = f"randomisation: {Path(shown.path).name}, saliency of each head"
    arrays = {**curves, "steps": np.array(steps)}
    return panel([[photo(shown.pixels, "input"), chart]], caption, wide=1.6), arrays


def view_weights(checkpoints: list[str]) -> Iterator[tuple[str, np.ndarray, dict]]:
    """Histograms of each layer of one checkpoint or several: pages of (name, panel, arrays)."""
    found = list(weight_histograms(checkpoints).items())
    labels = [Path(path).stem for path in checkpoints]
    size = _PAGE[0] * _PAGE[1]
    for start in range(0, len(found), size):
        part = found[start : start + size]
        cells = [histogram(bins, shares, f"{name[-44:]}", labels) for name, (bins, shares) in part]
        number = start // size + 1
        total = -(-len(found) // size)
        caption = (
            f"weights of {', '.join(labels)}: page {number} of {total}\nshare of a layer's weights "
            "in each of 60 bins"
        )
        arrays = {}
        for name, (bins, shares) in part:
            arrays[f"{name}.edges"], arrays[f"{name}.shares"] = bins, shares
        rows = in_lines(cells, _PAGE[1])
        yield f"page-{number:02d}", panel(rows, caption, wide=1.25), arrays
