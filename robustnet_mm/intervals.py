"""How sure a mean is: intervals over trainings, over images, and over both.

Needs scipy (extra `analysis`).
"""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import t as student


def half_width(values: Sequence[float], level: float = 0.95) -> float:
    """Half of Student's interval of the mean of two values or more."""
    count = len(values)
    quantile = float(student.ppf((1 + level) / 2, count - 1))
    return quantile * statistics.stdev(values) / count**0.5


def paired(ours: dict, control: dict, level: float = 0.95) -> dict | None:
    """Mean of the differences seed by seed, and Student's interval of it.

    Args:
        ours: Seed -> value.
        control: Likewise; only the seeds of both count.
        level: Of the interval; 1 - 0.05 / k where k comparisons are made (Bonferroni).

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
    half = half_width(differences, level)
    return dict(mean=mean, low=mean - half, high=mean + half, seeds=count)


def resampled(
    difference: Callable[[int, np.ndarray], float],
    seeds: int,
    images: int,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """The interval of a mean over seeds and images, both drawn anew with replacement.

    `paired` holds the noise of training alone; a test set is a sample too.

    Args:
        difference: What one training is ahead by on drawn images: the number of the training and
            those of the images -> difference.
        seeds: How many trainings there are.
        images: How many test images.
        draws: Of the bootstrap.
        seed: Of its random numbers.
        level: As of `paired`.
    """
    random = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        picked = random.integers(seeds, size=seeds)
        drawn = random.integers(images, size=images)
        counts = Counter(picked.tolist())  # each is asked once, however often it is picked
        means.append(sum(n * difference(number, drawn) for number, n in counts.items()) / seeds)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
