"""What many trainings say together: paired differences, tables and plots.

`runs` is cell -> seed -> `dict(value=..., epochs=[...])`, as tools/analysis_tools/study.py has it.
"""

import json
import statistics
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.fileio import load
from mmengine.registry import DATASETS, init_default_scope
from scipy.stats import t as student

SCORES = {"_cnn": "cnn_score", "_vit": "vit_score"}  # suffix of a metric -> what it reads


def read_epochs(folder: Path) -> list[dict]:
    """The metrics of each validation of a training, in order: `dict(epoch=..., name=value)`.

    Raises:
        ValueError: The training was never validated.
    """
    found = {}
    for path in sorted(folder.glob("*/vis_data/scalars.json")):  # one for each start
        for line in path.read_text().splitlines():
            record = json.loads(line)
            metrics = {name: value for name, value in record.items() if "/" in name}
            if metrics and "lr" not in record:
                found.setdefault(record["step"], dict(epoch=record["step"])).update(metrics)
    if not found:
        raise ValueError(f"no validation is recorded in {folder}: set train_cfg.val_interval")
    return [found[epoch] for epoch in sorted(found)]


def value_of(epochs: list[dict], metric: str) -> float:
    """A metric after the last of `read_epochs`.

    Raises:
        ValueError: It was not measured; names those that were.
    """
    last = epochs[-1]
    if metric not in last:
        known = ", ".join(name for name in last if name != "epoch")
        raise ValueError(f"metric {metric!r} was not measured, only {known}: see metric and reads")
    return last[metric]


def paired(ours: dict, control: dict) -> dict | None:
    """Mean of the differences seed by seed, and Student's 95 % interval of it.

    Args:
        ours: Seed -> value.
        control: Likewise; only the seeds of both count.

    Returns:
        `dict(mean, low, high, seeds)`; low and high are None for fewer than two seeds. None
        without a common seed.
    """
    differences = [ours[seed] - control[seed] for seed in ours if seed in control]
    if not differences:
        return None
    mean, count = statistics.fmean(differences), len(differences)
    if count < 2:
        return dict(mean=mean, low=None, high=None, seeds=count)
    half = float(student.ppf(0.975, count - 1)) * statistics.stdev(differences) / count**0.5
    return dict(mean=mean, low=mean - half, high=mean + half, seeds=count)


def compare(runs: dict, controls: list[str]) -> dict[str, dict[str, dict]]:
    """control -> cell -> `paired`, for every other cell."""
    values = {
        cell: {seed: run["value"] for seed, run in seeds.items()} for cell, seeds in runs.items()
    }
    return {
        control: {
            cell: difference
            for cell in values
            if cell != control and (difference := paired(values[cell], values[control]))
        }
        for control in controls
        if control in values
    }


def join(folders: list[Path], metrics: list[str], metric: str) -> float:
    """`metric` of the joined predictions of trainings, which lie in their `predictions.pkl`.

    Of classifiers, the logits are summed: those of the tower that each of `metrics` names (their
    log-probabilities, which differ by a constant per image). Of detectors, the detections of an
    image are united by NMS at IoU 0.5, at most 100 an image.
    """
    predictions = [load(folder / "predictions.pkl") for folder in folders]
    if "pred_score" not in predictions[0][0]:
        return _join_detections(folders[0], predictions, metric)
    logits = 0
    for samples, name in zip(predictions, metrics, strict=True):
        field = next((SCORES[suffix] for suffix in SCORES if name.endswith(suffix)), "pred_score")
        logits = logits + _logits(samples, field)
    labels = _labels(predictions[0])
    k = int(metric.split("top")[1].split("_")[0])
    hits = (logits.topk(k).indices == labels[:, None]).any(1)
    return 100 * hits.float().mean().item()


def _labels(samples: list[dict]) -> torch.Tensor:
    return torch.cat([sample["gt_label"] for sample in samples])


def _logits(samples: list[dict], field: str) -> torch.Tensor:
    """(images, classes): the logits of kept scores, but for a constant per image."""
    return torch.stack([sample[field] for sample in samples]).log()


def heads_of(folder: Path) -> dict[str, float] | None:
    """What the two heads of a classifier know, alone and together, in percent of the images.

    `cnn`, `vit`: the head is right; `agree`: both name the same class; `either`: at least one is
    right, which no choice between the two can exceed; `sum`: the sum of the logits is right, and
    `sum_25`, `sum_75`: a sum with that share of the CNN's logits. None for what is no classifier
    of two heads.
    """
    samples = load(folder / "predictions.pkl")
    if "cnn_score" not in samples[0]:
        return None
    labels = _labels(samples)
    cnn, vit = (_logits(samples, field) for field in SCORES.values())
    named = dict(cnn=cnn.argmax(1), vit=vit.argmax(1))
    right = {head: names == labels for head, names in named.items()}
    found = dict(**right, agree=named["cnn"] == named["vit"], either=right["cnn"] | right["vit"])
    for name, share in (("sum", 0.5), ("sum_25", 0.25), ("sum_75", 0.75)):
        found[name] = (share * cnn + (1 - share) * vit).argmax(1) == labels
    return {name: 100 * hits.float().mean().item() for name, hits in found.items()}


def _join_detections(folder: Path, predictions: list, metric: str) -> float:
    from mmcv.ops import batched_nms

    cfg = Config.fromfile(folder / "cell.py")
    init_default_scope(cfg.default_scope)
    joined = []
    for samples in zip(*predictions, strict=True):
        if len({sample["img_id"] for sample in samples}) > 1:
            raise ValueError(f"predictions of {folder} and of its partner are of other images")
        parts = [sample["pred_instances"] for sample in samples]
        every = {
            name: torch.cat([part[name] for part in parts])
            for name in ("bboxes", "scores", "labels")
        }
        nms = dict(type="nms", iou_threshold=0.5)
        keep = torch.zeros(0, dtype=torch.long)
        if len(every["scores"]):  # or batched_nms fails
            _, keep = batched_nms(every["bboxes"], every["scores"], every["labels"], nms)
        keep = keep[:100]
        instances = {name: values[keep] for name, values in every.items()}
        if "masks" in parts[0]:
            masks = [mask for part in parts for mask in part["masks"]]
            instances["masks"] = [masks[index] for index in keep.tolist()]
        joined.append({**samples[0], "pred_instances": instances})
    evaluator = Evaluator([entry for entry in cfg.val_evaluator if "out_file_path" not in entry])
    dataset = {**cfg.val_dataloader.dataset, "lazy_init": True}  # for the names of its classes
    evaluator.dataset_meta = DATASETS.build(dataset).metainfo
    # the host measures nothing where nothing at all was detected
    return evaluator.offline_evaluate(joined).get(metric, 0.0)


def markdown(runs: dict, differences: dict, study: Config) -> str:
    """Mean, standard deviation and differences, a row for each cell."""
    controls = list(differences)
    head = ["cell", "seeds", study.metric, *(f"minus {control} (95 %)" for control in controls)]
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

    figure, axis = pyplot.subplots(figsize=(8, 5))
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
    axis.legend(fontsize=8)
    _save(figure, out / "curves.png")
    if not differences:
        return
    rows = max(len(found) for found in differences.values())
    size = (8, len(differences) * (1 + 0.28 * rows))
    figure, axes = pyplot.subplots(len(differences), figsize=size, squeeze=False, sharex=True)
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

    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
