"""Drawing: cells in rows become one picture (matplotlib, without a window).

A cell is a function that draws on axes; `panel` lays cells out. Nothing is kept between pictures.
"""

from collections.abc import Callable

import numpy as np

from robustnet_mm.attention.masks import VOID

Cell = Callable  # axes -> None
DPI = 100
_COLOURS = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#9c755f"]


def panel(rows: list[list[Cell]], caption: str, wide: float = 1.0, side: float = 2.9) -> np.ndarray:
    """Rows of cells under a caption -> (H, W, 3) uint8, RGB.

    `side` is the height of a cell in inches, and `wide` its width relative to that.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    lines = caption.count("\n") + 1
    top = 0.12 + 0.16 * lines
    size = (max(columns * side * wide, 5.5) + 0.2, len(rows) * side + top)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - top / size[1]))
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, axes in zip(rows, grid, strict=True):
        for index, axis in enumerate(axes):
            if index < len(row):
                row[index](axis)
            else:
                axis.set_axis_off()
    figure.text(0.01, 1 - 0.08 / size[1], caption, fontsize=9, va="top", linespacing=1.3)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def in_lines(cells: list, width: int) -> list[list]:
    """A list of cells as rows of so many."""
    return [cells[start : start + width] for start in range(0, len(cells), width)]


def photo(pixels: np.ndarray, title: str, found=None, name=str, point=None) -> Cell:
    """An image (H, W, 3), and on it `Detections` and a cross at (x, y) if there are any."""

    def draw(axis):
        axis.imshow(pixels, interpolation="nearest")
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
        if found is not None:
            _draw_objects(axis, found, name)
        if point is not None:
            axis.plot(*point, "+", color="red", ms=12, mew=2)

    return draw


def _draw_objects(axis, found, name: Callable):
    from matplotlib.patches import Rectangle

    for index in reversed(range(len(found.boxes))):  # the best on top
        colour = _COLOURS[int(found.labels[index]) % len(_COLOURS)]
        if found.masks is not None:
            mask = found.masks[index]
            layer = np.zeros((*mask.shape, 4))
            layer[mask] = (*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 0.4)
            axis.imshow(layer, interpolation="nearest")
        x, y, right, bottom = found.boxes[index]
        axis.add_patch(Rectangle((x, y), right - x, bottom - y, fill=False, color=colour, lw=1.2))
        score = "" if found.scores is None else f" {found.scores[index]:.2f}"
        box = dict(facecolor=colour, edgecolor="none", pad=0.8, alpha=0.85)
        # above and below in turn, so that two boxes on one object can both be read
        room = 0.05 * axis.get_ylim()[0]
        if index % 2 == 0:
            place = dict(y=y, va="bottom" if y > room else "top")
        else:
            place = dict(y=bottom, va="top" if bottom < axis.get_ylim()[0] - room else "bottom")
        text = f"{name(int(found.labels[index]))}{score}"
        axis.text(x=x, s=text, fontsize=6, color="white", bbox=box, **place)


def regions(
    pixels: np.ndarray, labels: np.ndarray, name: Callable = str, title: str = "predicted"
) -> Cell:
    """Classes (H, W) in colours over an image, the largest ones named; 255 stays as it is."""

    def draw(axis):
        from matplotlib import colormaps
        from matplotlib.patches import Patch

        found, counts = np.unique(labels[labels != VOID], return_counts=True)
        layer = np.zeros((*labels.shape, 4))
        tones = colormaps["tab20"].colors
        for label in found:
            layer[labels == label] = (*tones[int(label) * 7 % 20], 0.6)
        axis.imshow(pixels)
        axis.imshow(layer, interpolation="nearest")
        largest = found[np.argsort(-counts)][:8]
        handles = [Patch(color=tones[int(k) * 7 % 20], label=name(int(k))[:14]) for k in largest]
        axis.legend(handles=handles, fontsize=6, loc="upper left", bbox_to_anchor=(1, 1))
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()

    return draw


def heat(
    values: np.ndarray,
    title: str,
    label: str,
    pixels: np.ndarray | None = None,
    signed: bool = False,
    limits: tuple[float, float] | None = None,
) -> Cell:
    """A map (h, w) with its colour bar, over the image where `pixels` are given.

    Args:
        values: The map; of any size.
        title: Above it.
        label: At its colour bar: what the numbers are.
        pixels: (H, W, 3), under the map.
        signed: Blue below zero, white at zero, red above.
        limits: Ends of the colour bar; by default the map's own, from zero on where signed.
    """

    def draw(axis):
        low, high = limits or (float(values.min()), float(values.max()))
        if signed and limits is None:
            high = max(abs(low), abs(high)) or 1.0
            low = -high
        high = low + 1 if high == low else high  # a flat map lies at the lower end
        height, width = values.shape if pixels is None else pixels.shape[:2]
        place = dict(extent=(-0.5, width - 0.5, height - 0.5, -0.5), vmin=low, vmax=high)
        if pixels is not None:
            axis.imshow(pixels)
        colours = "seismic" if signed else "viridis" if pixels is None else "jet"
        alpha = None if pixels is None else 0.5
        image = axis.imshow(values, colours, alpha=alpha, interpolation="nearest", **place)
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
        bar = axis.figure.colorbar(image, ax=axis, fraction=0.046, pad=0.03)
        bar.set_label(label, fontsize=6)
        bar.ax.tick_params(labelsize=6)
        bar.ax.yaxis.get_offset_text().set_fontsize(6)

    return draw


def words(lines: list[str], title: str) -> Cell:
    """Lines of a table, in letters of one width."""

    def draw(axis):
        text = "\n".join(lines)
        axis.text(0, 0.95, text, fontsize=7, family="monospace", va="top", linespacing=1.6)
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()

    return draw


def bars(names: list[str], values: np.ndarray, title: str, highest: float = 1.0) -> Cell:
    """Horizontal bars, the first on top."""

    def draw(axis):
        axis.barh(range(len(names)), values, color=_COLOURS[0])
        axis.set_yticks(range(len(names)), [name[:18] for name in names], fontsize=7)
        axis.invert_yaxis()
        axis.set_xlim(0, highest)
        axis.tick_params(axis="x", labelsize=6)
        for index, value in enumerate(values):
            inside = value > 0.8 * highest
            place = dict(ha="right" if inside else "left", color="white" if inside else "black")
            axis.text(value, index, f" {value:.3f} ", fontsize=6, va="center", **place)
        axis.set_title(title, fontsize=8)

    return draw


def histogram(edges: np.ndarray, shares: np.ndarray, title: str, labels: list[str]) -> Cell:
    """Outlines of histograms: edges (bins + 1,), shares (series, bins)."""

    def draw(axis):
        from matplotlib import colormaps

        tones = colormaps["viridis"](np.linspace(0, 0.85, len(shares)))
        for share, tone, label in zip(shares, tones, labels, strict=True):
            if np.isfinite(share).all():
                axis.stairs(share, edges, color=tone, label=label, lw=0.9)
        axis.set_title(title, fontsize=6)
        axis.tick_params(labelsize=6)
        axis.xaxis.get_offset_text().set_fontsize(6)
        if len(shares) > 1:
            axis.legend(fontsize=5)

    return draw


def lines(
    series: dict[str, np.ndarray],
    title: str,
    axis_labels: tuple[str, str],
    places: list[str] | None = None,
) -> Cell:
    """Lines over 0, 1, 2, ..., or over named places.

    Name -> (points,), or (points, several), which are dots with a line through their means.
    """

    def draw(axis):
        for (name, values), colour in zip(series.items(), _COLOURS, strict=False):
            if values.ndim == 2:
                rows = np.repeat(np.arange(len(values)), values.shape[1])
                axis.plot(rows, values.reshape(-1), ".", color=colour, ms=3)
                values = values.mean(1)
            axis.plot(values, color=colour, marker="o", ms=2.5, label=name, lw=1)
        axis.set_xlabel(axis_labels[0], fontsize=7)
        axis.set_ylabel(axis_labels[1], fontsize=7)
        axis.tick_params(labelsize=6)
        if places:
            axis.set_xticks(range(len(places)), places, rotation=25, ha="right")
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
        axis.legend(fontsize=6)
        axis.set_title(title, fontsize=8)

    return draw
