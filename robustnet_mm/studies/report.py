"""What a study leaves: results.json, results.md, curves.png and differences.png.

`runs` is what `run.collect` gives, and differences are those of `compare`.
"""

import os
import platform
import statistics
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.fileio import dump

from .compare import compare


def other_metrics(runs: dict, study: Config) -> dict[str, dict]:
    """Every other metric that all trainings have -> `runs` with its last values.

    Cells that read another metric are left out, because their other head is untrained, and so are
    ensembles, which are joined for the study's metric alone.
    """
    trained = {
        cell: {seed: run["epochs"][-1] for seed, run in seeds.items() if run["epochs"]}
        for cell, seeds in runs.items()
        if cell not in study.reads and cell not in study.ensembles
    }
    measured = [set(last) for seeds in trained.values() for last in seeds.values()]
    names = set.intersection(*measured) - {"epoch", study.metric} if measured else ()
    return {
        name: {
            cell: {seed: dict(value=last[name]) for seed, last in seeds.items()}
            for cell, seeds in trained.items()
        }
        for name in sorted(names)
    }


def markdown(runs: dict, differences: dict, metric: str) -> str:
    """Mean, standard deviation and differences of a metric, a row for each cell."""
    controls = list(differences)
    head = ["cell", "seeds", metric, *(f"minus {control} (95 %)" for control in controls)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    digits = 2 if max(run["value"] for seeds in runs.values() for run in seeds.values()) > 1 else 4
    for cell, seeds in runs.items():
        values = [run["value"] for run in seeds.values()]
        shown = f"{statistics.fmean(values):.{digits}f}"
        if len(values) > 1:
            shown += f" ± {statistics.stdev(values):.{digits}f}"
        cells = [cell, str(len(values)), shown]
        cells += [_interval(differences[control].get(cell), digits) for control in controls]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def heads_markdown(runs: dict) -> str:
    """Mean over the seeds of `heads_of`, a row for each cell whose runs have it as `heads`."""
    found = {
        cell: [run["heads"] for run in seeds.values() if run.get("heads")]
        for cell, seeds in runs.items()
    }
    found = {cell: heads for cell, heads in found.items() if heads}
    if not found:
        return ""
    names = list(next(iter(found.values()))[0])
    lines = [f"| cell | seeds | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for cell, heads in found.items():
        means = (f"{statistics.fmean(one[name] for one in heads):.2f}" for name in names)
        lines.append(f"| {cell} | {len(heads)} | {' | '.join(means)} |")
    return "\n".join(
        ["", "What the heads know (`heads_of`), in percent of the images:", "", *lines, ""]
    )


def _interval(difference: dict | None, digits: int) -> str:
    if difference is None:
        return ""
    mean = f"{difference['mean']:+.{digits}f}"
    if difference["low"] is None:
        return mean
    return f"{mean} [{difference['low']:+.{digits}f}, {difference['high']:+.{digits}f}]"


def draw(runs: dict, differences: dict, study: Config, out: Path):
    """curves.png: mean over the seeds after each epoch; differences.png: the intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 5), layout="constrained")
    for cell, seeds in runs.items():
        name = study.reads.get(cell, study.metric)
        curves = [[epoch[name] for epoch in run["epochs"]] for run in seeds.values()]
        if curves[0]:
            epochs = [epoch["epoch"] for epoch in next(iter(seeds.values()))["epochs"]]
            (line,) = axis.plot(epochs, np.mean(curves, 0), marker="o", markersize=3, label=cell)
            band = np.min(curves, 0), np.max(curves, 0)
            axis.fill_between(epochs, *band, alpha=0.15, color=line.get_color())
        else:
            mean = statistics.fmean(run["value"] for run in seeds.values())
            axis.axhline(mean, linestyle="--", color="black", label=f"{cell} (joined, untrained)")
    axis.set_xlabel("epoch")
    axis.locator_params(axis="x", integer=True)
    axis.set_ylabel(f"{study.metric}: mean over seeds, band: all seeds")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)  # hides no curve
    _save(figure, out / "curves.png")
    if not differences:
        return
    rows = max(len(found) for found in differences.values())
    size = dict(figsize=(8, len(differences) * (1 + 0.28 * rows)), layout="constrained")
    figure, axes = pyplot.subplots(len(differences), squeeze=False, sharex=True, **size)
    for axis, (control, found) in zip(axes[:, 0], differences.items(), strict=True):
        for y, difference in enumerate(found.values()):
            ends = [difference["low"], difference["high"]]
            if None not in ends:
                axis.plot(ends, [y, y], color="tab:blue", linewidth=2)
            axis.plot(difference["mean"], y, "o", color="tab:blue")
        axis.set_yticks(range(len(found)), list(found))
        axis.set_ylim(len(found) - 0.5, -0.5)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.grid(alpha=0.3, axis="x")
        axis.set_title(f"minus {control}", fontsize=10)
    axes[-1, 0].set_xlabel(f"difference in {study.metric}, with its 95 % interval over seeds")
    _save(figure, out / "differences.png")


def _save(figure, path: Path):
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def write(runs: dict, study: Config, out: Path) -> str:
    """Compare with the controls, and write all into the work dir; the tables come back."""
    differences = compare(runs, study.controls)
    others = {
        name: (values, compare(values, study.controls))
        for name, values in other_metrics(runs, study).items()
    }
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions = dict(python=platform.python_version(), torch=torch.__version__, gpu=gpu)
    asked = study.to_dict() | dict(base=os.path.relpath(study.base))  # no path of this machine
    record = dict(study=asked, versions=versions, runs=runs, differences=differences)
    record["others"] = {name: found for name, (_, found) in others.items()}
    dump(record, out / "results.json", backend_args=dict(backend="whole"), indent=1)
    tables = [markdown(runs, differences, study.metric), heads_markdown(runs)]
    tables += [f"\n{markdown(values, found, name)}" for name, (values, found) in others.items()]
    table = "".join(tables)
    (out / "results.md").write_text(table)
    draw(runs, differences, study, out)
    return table
