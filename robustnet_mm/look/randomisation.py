"""Does a saliency map hang on what was learned? (Adebayo et al., 2018)"""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from robustnet_mm.models.probe import net_of, undisturbed

from .gradients import saliency
from .outputs import explained, one_by_one, predicted


def cascading_randomisation(
    model: nn.Module,
    images: Tensor,
    output: str = "sum",
    method=saliency,
    target: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Rank correlation of a map with itself while the weights are replaced from the top down.

    Heads first, then both towers quarter by quarter from the last blocks on, with the exchanges
    between them, and the stem and patch embedding at the end. Each tensor of weights becomes random
    numbers of its own mean and deviation. A map that shows what was learned loses its correlation.

    Args:
        model: A classifier with a RobustNet; it is copied, not changed.
        images: (N, 3, H, W).
        output: 'cnn', 'vit' or 'sum'.
        method: `saliency`, `guided_backprop`, `integrated_gradients` or another of their kind.
        target: The class; by default what each image is taken for before anything is replaced.
        seed: Of the random numbers.

    Returns:
        What was replaced last ('as trained', 'heads', ...) -> (N,) Spearman rank correlations.
    """
    from scipy.stats import spearmanr

    targets = _targets(model, images, output, target)
    model = deepcopy(model)
    groups = _groups(model)
    generator = torch.Generator().manual_seed(seed)

    def maps():
        pairs = zip(one_by_one(images), targets, strict=True)
        return [method(model, image, output, chosen)[0] for image, chosen in pairs]

    first = maps()
    found = {"as trained": np.ones(len(images))}
    for name, parts in groups.items():
        for weight in parts:
            _randomise(weight, generator)
        pairs = zip(first, maps(), strict=True)
        found[name] = np.array([spearmanr(a, b, axis=None).statistic for a, b in pairs])
    return found


def _targets(model: nn.Module, images: Tensor, output: str, target: int | None) -> list[int]:
    if target is not None:  # `method` looks whether it is a class
        return [target] * len(images)
    with undisturbed(model):
        return [predicted(explained(model, output, i), i) for i in one_by_one(images)]


def _groups(model: nn.Module) -> dict[str, list[Tensor]]:
    """Name of a step -> its weights, from the top down; every weight is in one step."""
    net = net_of(model, "cascading randomisation")
    taken, groups = set(), {}

    def take(name: str, modules):
        weights = [p for module in modules for p in module.parameters() if id(p) not in taken]
        taken.update(map(id, weights))
        groups[name] = weights

    take("heads", [child for name, child in model.named_children() if name != "backbone"])
    for quarter in (3, 2, 1, 0):
        parts = []
        for blocks in (list(net.cnn.blocks), list(net.vit.blocks), list(net.fius)):
            start, end = (len(blocks) * (quarter + k) // 4 for k in (0, 1))
            parts += blocks[start:end]
        take(f"blocks, quarter {quarter + 1} of 4", parts)
    take("stem and patch embedding", [net])
    return groups


def _randomise(weight: nn.Parameter, generator: torch.Generator):
    mean, std = weight.detach().mean(), weight.detach().std(unbiased=False)
    noise = torch.randn(weight.shape, generator=generator).to(weight)
    weight.data.copy_(noise * std + mean)
