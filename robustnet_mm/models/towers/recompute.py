"""Blocks that are run again in the backward pass, instead of storing what they made."""

from contextlib import contextmanager, nullcontext

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def frozen_statistics(*parts: nn.Module):
    """A pass that leaves the statistics of BatchNorm: under `with_cp` a batch counts once."""
    norms = [m for part in parts for m in part.modules()]
    norms = [m for m in norms if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


def recompute(function, parts: list[nn.Module], *args):
    """Call `function`, which runs `parts`, and again in the backward pass instead of storing."""

    def contexts():
        return nullcontext(), frozen_statistics(*parts)

    return checkpoint(function, *args, use_reentrant=False, context_fn=contexts)
