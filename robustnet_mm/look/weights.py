"""Histograms of weights, from one checkpoint or a series of them."""

import numpy as np
from torch import Tensor

from robustnet_mm.weights.files import find_state_dict, read_checkpoint


def weight_histograms(
    checkpoints: list[str], bins: int = 60
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """How the weights of each layer are spread, one checkpoint in memory at a time.

    Statistics of BatchNorm and single numbers are no weights.

    Args:
        checkpoints: Files, in the order of training.
        bins: Number of bins, the same for all checkpoints of a layer.

    Returns:
        Layer -> (edges (bins + 1,), shares (checkpoints, bins)); shares of a checkpoint sum to one.
        Layers that a file has not, or whose weights are not finite, have NaN there.
    """
    ranges = {}
    for path in checkpoints:
        for name, weight in _weights(path):
            values = weight[weight.isfinite()]
            if values.numel():
                low, high = float(values.min()), float(values.max())
                old = ranges.get(name, (low, high))
                ranges[name] = min(low, old[0]), max(high, old[1])
    edges = {name: _edges(*span, bins) for name, span in ranges.items()}
    found = {name: np.full((len(checkpoints), bins), np.nan) for name in ranges}
    for index, path in enumerate(checkpoints):
        for name, weight in _weights(path):
            if name in found and bool(weight.isfinite().all()):
                counts, _ = np.histogram(weight.numpy(), edges[name])
                found[name][index] = counts / max(counts.sum(), 1)
    return {name: (edges[name], found[name]) for name in found}


def _weights(path: str) -> list[tuple[str, Tensor]]:
    state = find_state_dict(read_checkpoint(path))
    floats = [(n, w.float().flatten()) for n, w in state.items() if w.is_floating_point()]
    return [(n, w) for n, w in floats if w.numel() > 1 and ".running_" not in n]


def _edges(low: float, high: float, bins: int) -> np.ndarray:
    if low == high:  # a norm's fresh weights: one bar in the middle
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)
