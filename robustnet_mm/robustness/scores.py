"""From what a network scores on clean and on corrupted images to the field's numbers.

`found` is `Found`: the scores on clean images, and those for each corruption and severity.
"""

from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

import numpy as np

Scores = Mapping[str, float]  # metric -> value


class Found(NamedTuple):
    """What was measured of one network.

    `right` holds, for classifiers, which images were right by each head: head -> corruption, or
    'clean' -> severity -> a word of 0 and 1. `images` is a digest of the files' names and labels.
    """

    clean: Scores
    corrupted: Mapping[str, Mapping[int, Scores]]
    right: Mapping[str, Mapping[str, Mapping[int, str]]]
    images: str = ""


def performance_under_corruption(found: Found, metric: str) -> float:
    """mPC: the mean over corruptions and severities.

    Michaelis et al., "Benchmarking Robustness in Object Detection", 2019, equation 1.
    """
    of_each = [fmean(s[metric] for s in levels.values()) for levels in found.corrupted.values()]
    return fmean(of_each)


def relative_performance(found: Found, metric: str) -> float:
    """rPC in percent: mPC as a share of the clean score (equation 2 there); nan of a score of 0."""
    clean = found.clean[metric]
    return 100 * performance_under_corruption(found, metric) / clean if clean else float("nan")


def corruption_error(found: Found, base: Found, metric: str, base_metric: str) -> float:
    """mCE in percent: the mean over corruptions of error / base's error, severities summed.

    nan where the base makes no error by a corruption, and loses nothing by one.

    Hendrycks and Dietterich, ICLR 2019, section 4.1. Metrics are accuracies in percent.

    Raises:
        ValueError: The base was measured on other corruptions.
    """
    return _mean_ratio(found, base, metric, base_metric, relative=False)


def relative_corruption_error(found: Found, base: Found, metric: str, base_metric: str) -> float:
    """Relative mCE in percent: as `corruption_error`, of what errors grow by."""
    return _mean_ratio(found, base, metric, base_metric, relative=True)


def _mean_ratio(found: Found, base: Found, metric: str, base_metric: str, relative: bool):
    ratios = []
    for name, severities in found.corrupted.items():
        if missing := [s for s in severities if s not in base.corrupted.get(name, ())]:
            raise ValueError(
                f"the base was not measured on {name} of severity {missing}: measure both on the "
                "same corruptions"
            )
        ours, theirs = (
            sum(
                100 - one.corrupted[name][s][m] - (100 - one.clean[m] if relative else 0)
                for s in severities
            )
            for one, m in ((found, metric), (base, base_metric))
        )
        ratios.append(ours / theirs if theirs > 0 else float("nan"))
    return 100 * fmean(ratios)


def lead(found: Found, base: Found, head: str, base_head: str) -> dict[str, dict[str, float]]:
    """How far a classifier is ahead of another on the same images, in percent of them.

    Returns:
        'clean', 'corrupted' and 'loss' (what accuracy loses by corruption; below 0: ours loses
        less): `mean`, and `half`, half of the 95 % interval over the images.

    Raises:
        ValueError: They saw other images or corruptions, fewer than two, or one is no classifier.
    """
    from robustnet_mm.intervals import half_width  # extra `analysis`

    for one, name in ((found, head), (base, base_head)):
        if name not in one.right:
            raise ValueError(f"no images are recorded for head {name!r}, only {list(one.right)}")
    ours, theirs = (_by_image(one.right[h]) for one, h in ((found, head), (base, base_head)))
    if any(len(row) != len(theirs.get(key, ())) for key, row in ours.items()):
        raise ValueError("both must be measured on the same images and corruptions")
    if found.images != base.images:
        raise ValueError("both must be measured on the same images: their names or labels differ")
    clean = ours["clean", 0] - theirs["clean", 0]
    if len(clean) < 2:
        raise ValueError("an interval needs two images or more, got one: take more")
    rest = [key for key in ours if key[0] != "clean"]
    corrupted = np.mean([ours[key] - theirs[key] for key in rest], 0)
    columns = dict(clean=clean, corrupted=corrupted, loss=clean - corrupted)
    return {
        name: dict(mean=float(values.mean()), half=half_width(values.tolist()))
        for name, values in columns.items()
    }


def _by_image(right: Mapping) -> dict[tuple, np.ndarray]:
    """(corruption, severity) -> 100 for each image that was right, 0 for others."""
    return {
        (name, int(severity)): 100.0 * np.array(list(word), int)
        for name, levels in right.items()
        for severity, word in levels.items()
    }
