"""What two views of the same images have in common, channel by channel; and what that says."""

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def gathered(embeddings: Tensor) -> Tensor:
    """Those of all processes, with gradients: (N, D) -> (N of all, D).

    A batch is as large as all processes make it: accumulated gradients do not enlarge it.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return embeddings
    return torch.cat(all_gather(embeddings.contiguous()))


def standardize(embeddings: Tensor, eps: float = 1e-5) -> Tensor:
    """Each channel with mean 0 and deviation 1 over the batch, as BatchNorm does it: (N, D)."""
    variance = embeddings.var(0, unbiased=False)
    return (embeddings - embeddings.mean(0)) / (variance + eps).sqrt()


def check_batch(number: int) -> None:
    """Raises: ValueError, of a batch of all processes in which no channel has a deviation."""
    if number < 2:
        raise ValueError(
            f"a correlation needs two images at least, got a batch of {number}: set batch_size of "
            "train_dataloader to 2 or more, and drop_last=True"
        )


def cross_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Of the channels of two views (Zbontar et al. 2021, equation 2): (N, D), (N, E) -> (D, E).

    In float32, over the images of all processes.

    Raises:
        ValueError: A single image, whose channels have no deviation.
    """
    with torch.autocast(one.device.type, enabled=False):
        one, other = (standardize(gathered(each.float())) for each in (one, other))
        check_batch(len(one))
        return one.T @ other / len(one)


def off_diagonal(square: Tensor) -> Tensor:
    """(D, D) -> (D * (D - 1),)"""
    return square.flatten()[:-1].unflatten(0, (len(square) - 1, -1))[:, 1:].flatten()


def barlow_twins_loss(correlation: Tensor, off_diagonal_weight: float = 0.0051) -> Tensor:
    """Channels agree between the views, and say different things (equation 1): (D, D) -> ()."""
    on = (correlation.diagonal() - 1).square().sum()
    return on + off_diagonal_weight * off_diagonal(correlation).square().sum()


def effective_rank(embeddings: Tensor) -> Tensor:
    """exp of the entropy of the singular values (RankMe, Garrido et al. 2023): (N, D) -> ().

    From 1, where all images are embedded on one line, to min(N, D); NaN where something is not
    finite.
    """
    if not embeddings.isfinite().all():
        return embeddings.new_full((), float("nan"), dtype=torch.float32)
    values = torch.linalg.svdvals(embeddings.float())
    shares = values / values.sum().clamp_min(1e-12) + 1e-7
    return (-(shares * shares.log()).sum()).exp()


@torch.no_grad()
def signs(correlation: Tensor) -> dict[str, Tensor]:
    """The mean of the diagonal, which is to be 1, and the root mean square off it, 0: (D, D)"""
    rest = off_diagonal(correlation).square().mean().sqrt()
    return dict(diagonal=correlation.diagonal().mean(), off_diagonal=rest)
