"""Does attention mean something? Five numbers, each beside what means nothing.

Of one image; N patches that are known, a map a (one for each head) that sums to one over them:

    concentration  1 - H(a) / ln N: 0 where attention is uniform, 1 where it is one patch
    foreground     attention on the foreground over the foreground's share of the image
    jaccard        of the fewest patches that hold 60 % of the attention with the foreground, of the
                   best head and of the mean one (Caron et al. 2021, section 4.2.2)
    locality       attention of a patch to the 3 x 3 patches around it
    diversity      1 - mean cosine between two heads

A high concentration alone may be an artefact token's: read it beside foreground and jaccard.
"""

import math
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from .reader import TokenAttention

MASS = 0.6
NAMES = ("concentration", "foreground", "jaccard_best", "jaccard_mean", "locality", "diversity")


class Number(NamedTuple):
    """A number of an image; NaN where it has no meaning there."""

    value: float
    uniform: float  # of attention to all patches alike
    random: float  # of the same attention and a random mask of the foreground's size


def most(maps: Tensor, mass: float = MASS) -> Tensor:
    """The fewest patches that hold so much of each map: (K, N), which sum to one -> (K, N) bool"""
    values, order = maps.sort(-1, descending=True)
    before = values.cumsum(-1) - values  # a patch is needed where those before it hold too little
    return torch.zeros_like(maps, dtype=torch.bool).scatter(-1, order, before < mass - 1e-6)


def jaccard(chosen: Tensor, foreground: Tensor) -> Tensor:
    """(K, N) bool, shares (N,) -> (K,)"""
    both = (chosen * foreground).sum(-1)
    return both / (chosen.sum(-1) + foreground.sum() - both)


def of_random(chosen: float, foreground: float) -> float:
    """The Jaccard index of two independent masks of these shares of the image."""
    both = chosen * foreground
    return both / (chosen + foreground - both)


def numbers_of(
    maps: Tensor,
    foreground: Tensor | None = None,
    known: Tensor | None = None,
    locality: tuple[Tensor, float] | None = None,
) -> dict[str, Number]:
    """The five numbers (jaccard is two) of an image.

    Args:
        maps: (K, h, w), not negative: a map for each head.
        foreground: (h, w) in 0..1; without it foreground and jaccard are NaN, as they are where the
            image is foreground or background alone.
        known: (h, w) in 0..1; patches known by half or more count. None: all. Where there are less
            than two, all numbers are NaN.
        locality: Of each head (K,), and of uniform attention; see `locality_of`.

    Raises:
        ValueError: Masks of another grid.
    """
    real = torch.ones(maps.shape[-2:], dtype=torch.bool) if known is None else known >= 0.5
    for name, mask in dict(foreground=foreground, known=known).items():
        if mask is not None and mask.shape != maps.shape[-2:]:
            raise ValueError(
                f"{name} must be (h, w) of the maps, {tuple(maps.shape[-2:])}, got "
                f"{tuple(mask.shape)}"
            )
    nan = math.nan
    if real.sum() < 2:
        return dict.fromkeys(NAMES, Number(nan, nan, nan))
    a = maps[:, real].double()
    a = a / a.sum(-1, keepdim=True).clamp_min(1e-300)
    number = a.size(-1)
    entropy = -torch.special.xlogy(a, a).sum(-1)
    found = dict(concentration=Number(float(1 - entropy.mean() / math.log(number)), 0.0, nan))
    found |= _with_mask(a, None if foreground is None else foreground[real].double())
    local = Number(nan, nan, nan)
    if locality is not None:
        local = Number(float(locality[0].double().mean()), locality[1], nan)
    unit = torch.nn.functional.normalize(a, dim=-1)
    pairs = [float(unit[i] @ unit[j]) for i, j in combinations(range(len(unit)), 2)]
    spread = 1 - sum(pairs) / len(pairs) if pairs else nan
    return found | dict(locality=local, diversity=Number(spread, 0.0, nan))


def _with_mask(a: Tensor, foreground: Tensor | None) -> dict[str, Number]:
    names = ("foreground", "jaccard_best", "jaccard_mean")
    share = None if foreground is None else float(foreground.mean())
    if share is None or not 0 < share < 1:
        return dict.fromkeys(names, Number(math.nan, math.nan, math.nan))
    mass = (a * foreground).sum(-1).mean() / share
    chosen = most(a)
    indices = jaccard(chosen, foreground)
    floors = torch.tensor([of_random(float(p), share) for p in chosen.double().mean(-1)])
    uniform = of_random(MASS, share)
    best = int(indices.argmax())
    values = (
        Number(float(mass), 1.0, 1.0),
        Number(float(indices[best]), uniform, float(floors[best])),
        Number(float(indices.mean()), uniform, float(floors.mean())),
    )
    return dict(zip(names, values, strict=True))


def locality_of(attention: TokenAttention, known: Tensor) -> tuple[Tensor, float]:
    """Attention to the 3 x 3 patches around the one that asks, mean of those that are known.

    Args:
        attention: Of one block and one image.
        known: (h, w) bool.

    Returns:
        (heads,), and what uniform attention gives.
    """
    h, w = attention.grid
    places = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), -1)
    places, real = places.flatten(0, 1), known.flatten()
    total, uniform, number = torch.zeros(()), 0.0, int(real.sum())
    for rows in attention.rows:
        for queries in attention.chunks():
            asking = torch.arange(queries.start, queries.stop) - attention.num_prefix
            asking_real = asking[real[asking]]
            if not len(asking_real):
                continue
            found = attention.patches(rows, queries)[0][:, real[asking]][..., real].cpu()
            found = found / found.sum(-1, keepdim=True).clamp_min(1e-12)
            near = (places[asking_real][:, None] - places[real][None]).abs().amax(-1) <= 1
            total = total + (found * near).sum((1, 2))
            uniform += float(near.double().mean(-1).sum())
    asked = max(1, number * len(attention.rows))
    return total / asked, uniform / asked


def significance(
    attention: TokenAttention, foreground: Tensor | None = None, known: Tensor | None = None
) -> dict[str, Number]:
    """`numbers_of` one image's attention; see there for the masks."""
    maps = attention.maps()[0].detach().cpu()
    real = torch.ones(attention.grid, dtype=torch.bool) if known is None else known >= 0.5
    with torch.no_grad():
        local = locality_of(attention, real)
    return numbers_of(maps, foreground, known, local)
