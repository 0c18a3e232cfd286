"""The numbers of sweeps as tables and as a picture."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean

from robustnet_mm.files import WholeFileBackend

from .corruptions import CORRUPTIONS
from .scores import (
    Found,
    corruption_error,
    lead,
    performance_under_corruption,
    relative_corruption_error,
    relative_performance,
)


def is_accuracy(metric: str) -> bool:
    """Whether it is a percentage of images that are right."""
    return re.search(r"top\d", metric) is not None


def head_of(metric: str) -> str:
    """'accuracy/top1_cnn' -> 'top1_cnn', as `Found.right` names it."""
    return metric.rpartition("/")[2]


def chosen(found: Found) -> list[str]:
    """The metrics of a table: top-1 of classifiers, the mean precisions or IoU of others."""
    names = [name for name in found.clean if re.fullmatch(r".*(top1(_\w+)?|mAP|mIoU)", name)]
    return names or list(found.clean)


def summary(found: Found, bases: Mapping[str, tuple[Found, str]]) -> dict[str, dict]:
    """metric -> clean, mPC, rPC, and against each base mCE, relative mCE and leads.

    Args:
        found: Of the network.
        bases: Name -> (what was measured of it, its metric, which may be '' for the same name).
    """
    rows = {}
    for metric in chosen(found):
        row = dict(
            clean=found.clean[metric],
            mpc=performance_under_corruption(found, metric),
            rpc=relative_performance(found, metric),
        )
        for name, (base, base_metric) in bases.items():
            if not is_accuracy(metric):
                continue
            base_metric = base_metric or metric
            row.setdefault("bases", {})[name] = dict(
                mce=corruption_error(found, base, metric, base_metric),
                relative_mce=relative_corruption_error(found, base, metric, base_metric),
                lead=lead(found, base, head_of(metric), head_of(base_metric)),
            )
        rows[metric] = row
    return rows


def by_corruption(found: Found, metric: str) -> dict[str, float]:
    """The mean over severities, for each corruption in the order of ImageNet-C."""
    names = [*CORRUPTIONS, *found.corrupted]
    order = sorted(found.corrupted, key=names.index)
    return {name: fmean(s[metric] for s in found.corrupted[name].values()) for name in order}


def markdown(found: Found, bases: Mapping[str, tuple[Found, str]] | None = None) -> str:
    """Tables: the summary, the leads over bases with intervals, and every corruption."""
    rows = summary(found, bases or {})
    lines = _table(
        ["metric", "clean", "mPC", "rPC in %"],
        ([m, *(_said(r[k]) for k in ("clean", "mpc", "rpc"))] for m, r in rows.items()),
    )
    against = [
        (m, name, of) for m, row in rows.items() for name, of in row.get("bases", {}).items()
    ]
    if against:
        head = ["metric", "base", "mCE in %", "relative mCE in %"]
        head += ["ahead, clean", "ahead, corrupted", "loses more by corruption"]
        lines += ["", *_table(head, (_against(*each) for each in against))]
    columns = {metric: by_corruption(found, metric) for metric in rows}
    names = next(iter(columns.values()))
    each = ([name, *(_said(column[name]) for column in columns.values())] for name in names)
    lines += ["", *_table(["mean over severities", *columns], each)]
    return "\n".join(lines) + "\n"


def _against(metric: str, name: str, of: Mapping) -> list[str]:
    ends = (f"{e['mean']:+.2f} ± {e['half']:.2f}" for e in of["lead"].values())
    return [metric, name, _said(of["mce"]), _said(of["relative_mce"]), *ends]


def _said(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if abs(value) > 1 else f"{value:.3f}"


def _table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def draw(found: Found, file: str | Path) -> None:
    """A picture: each metric over the severity, and for each corruption, in one row.

    Args:
        found: Of the network.
        file: A .png.
    """
    import io

    from matplotlib.figure import Figure

    metrics = chosen(found)
    levels = sorted({level for of in found.corrupted.values() for level in of})
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    width = 0.8 / len(metrics)
    for number, metric in enumerate(metrics):
        means = [
            fmean(of[level][metric] for of in found.corrupted.values() if level in of)
            for level in levels
        ]
        left.plot([0, *levels], [found.clean[metric], *means], marker="o", label=metric)
        each = by_corruption(found, metric)
        places = [place + (number - (len(metrics) - 1) / 2) * width for place in range(len(each))]
        right.bar(places, list(each.values()), width, label=metric)
        right.axhline(found.clean[metric], color=f"C{number}", linestyle=":", linewidth=1)
    left.set_xticks([0, *levels], ["clean", *levels])
    left.set(xlabel="severity", title="mean over corruptions")
    right.set_xticks(range(len(each)), list(each), rotation=45, ha="right")
    right.set_title("mean over severities (dotted: clean)")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
    left.legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    WholeFileBackend().put(buffer.getvalue(), file)
