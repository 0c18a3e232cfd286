"""What many trainings say together: joined predictions, paired differences.

`runs` is cell -> seed -> `dict(value=..., epochs=[...])`, as `run.collect` gives it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from robustnet_mm.engine.metrics import HEADS
from robustnet_mm.intervals import paired
from robustnet_mm.weights.files import read_results

from .precision import precision, precision_of_draws, united

SCORES = {suffix: field for suffix, field in HEADS.items() if suffix}  # of the single heads


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
    log-probabilities, which differ by a constant per image). Of detectors, the detections are
    `united`.
    """
    predictions = [read_results(folder / "predictions.pkl") for folder in folders]
    if "pred_score" not in predictions[0][0]:
        return precision(folders[0], united(predictions), metric)
    fields = [
        next((SCORES[suffix] for suffix in SCORES if name.endswith(suffix)), "pred_score")
        for name in metrics
    ]
    k = int(metric.split("top")[1].split("_")[0])
    hits = _right(predictions, fields, [1] * len(fields), k)
    return 100 * hits.float().mean().item()


def right_images(
    predictions: list[list[dict]], heads: list[str], weights: list[float]
) -> torch.Tensor:
    """(images,) bool: the weighted sum of the logits of trained classifiers names the class.

    Args:
        predictions: Of each, the kept ones.
        heads: What to read of each: 'cnn', 'vit', or 'sum' for its own prediction.
        weights: Of each in the sum.

    Raises:
        ValueError: A classifier has no such head.
    """
    fields = dict(cnn=SCORES["_cnn"], vit=SCORES["_vit"], sum="pred_score")
    for number, (samples, head) in enumerate(zip(predictions, heads, strict=True), 1):
        known = [name for name, field in fields.items() if field in samples[0]]
        if head not in known:
            raise ValueError(f"term {number} of the sum has no head {head!r}, only {known}")
    return _right(predictions, [fields[head] for head in heads], weights)


def score_of_draws(
    folders: list[Path], heads: list[str], weights: list[float], metric: str
) -> tuple[int, Callable[[np.ndarray], float]]:
    """The number of test images, and a function from the numbers of drawn ones to their score.

    The score of classifiers is the percentage of `right_images`, that of detectors the
    `precision_of_draws` of their `united` detections.

    Args:
        folders: Of the trainings, with their `predictions.pkl`.
        heads: See `right_images`; 'sum' of detectors.
        weights: Likewise; 1 of detectors.
        metric: Of the study.

    Raises:
        ValueError: Heads or weights for detectors, which have none.
    """
    kept = {folder: read_results(folder / "predictions.pkl") for folder in dict.fromkeys(folders)}
    predictions = [kept[folder] for folder in folders]
    if "pred_score" in predictions[0][0]:
        right = 100 * right_images(predictions, heads, weights).double().numpy()
        return len(right), lambda drawn: right[drawn].mean()
    if set(heads) != {"sum"} or set(weights) != {1}:
        raise ValueError(f"detections have no heads and no weights, got {heads} and {weights}")
    samples = predictions[0] if len(predictions) == 1 else united(predictions)
    return len(samples), precision_of_draws(folders[0], samples, metric)


def _right(
    predictions: list[list[dict]], fields: list[str], weights: list[float], k: int = 1
) -> torch.Tensor:
    """(images,) bool: the class is among the first `k` of the weighted sum of logits."""
    terms = zip(predictions, fields, weights, strict=True)
    logits = sum(weight * _logits(samples, field) for samples, field, weight in terms)
    return (logits.topk(k).indices == _labels(predictions[0])[:, None]).any(1)


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
    of two heads, and where no predictions are kept.
    """
    path = folder / "predictions.pkl"
    samples = read_results(path) if path.is_file() else [{}]
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
