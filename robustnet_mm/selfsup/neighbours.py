"""k nearest neighbours: what a representation knows before anything is trained on it."""

import torch
from torch import Tensor

from robustnet_mm.arguments import check_whole


def knn_accuracy(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Share of the test images that their neighbours name rightly, in percent.

    Neighbours vote with exp(cosine / temperature), as in DINO's evaluation (Caron et al. 2021,
    appendix; Wu et al. 2018, section 3.4).

    Args:
        train: (N, C) vectors whose labels are known.
        train_labels: (N,)
        test: (M, C)
        test_labels: (M,)
        k: Number of neighbours, at most N.
        temperature: The smaller, the more the nearest count.

    Raises:
        ValueError: More neighbours than there are vectors.
    """
    check_whole("k", k, 1, len(train), f"; there are {len(train)} training images")
    train, test = (torch.nn.functional.normalize(each.float(), dim=1) for each in (train, test))
    votes = torch.zeros(len(test), int(train_labels.max()) + 1)
    for rows in torch.arange(len(test)).split(1024):
        cosine, nearest = (test[rows] @ train.T).topk(k, dim=1)
        weight = ((cosine - cosine[:, :1]) / temperature).exp()  # the nearest counts one
        votes[rows] = votes[rows].scatter_add(1, train_labels[nearest], weight)
    return 100 * (votes.argmax(1) == test_labels).float().mean().item()
