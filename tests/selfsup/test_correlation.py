import numpy as np
import pytest
import torch
from helpers import close

from robustnet_mm.selfsup import barlow_twins_loss, cross_correlation, effective_rank, knn_accuracy
from robustnet_mm.selfsup.correlation import off_diagonal

ONE = torch.randn(32, 6) @ torch.randn(6, 6) + 3
OTHER = ONE + 0.3 * torch.randn(32, 6)


def test_the_correlation_is_numpys():
    expected = np.corrcoef(ONE.double().T, OTHER.double().T)[:6, 6:]
    np.testing.assert_allclose(cross_correlation(ONE, OTHER), expected, atol=1e-4)  # eps: 1e-5


def test_the_loss_is_that_of_the_host():
    from mmpretrain.models import CrossCorrelationLoss, LatentCrossCorrelationHead

    head = LatentCrossCorrelationHead(6, loss=dict(type="mmpretrain.CrossCorrelationLoss"))
    assert isinstance(head.loss_module, CrossCorrelationLoss)
    ours = barlow_twins_loss(cross_correlation(ONE, OTHER))
    close(ours, head.loss(ONE.clone(), OTHER.clone()), depth=3)


def test_a_loss_by_hand():
    correlation = torch.tensor([[0.5, 0.2], [-0.1, 1.0]])
    close(barlow_twins_loss(correlation, 0.1), 0.25 + 0.1 * (0.04 + 0.01))
    assert off_diagonal(torch.arange(9.0).view(3, 3)).tolist() == [1, 2, 3, 5, 6, 7]


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match="two images at least, got a batch of 1: set batch_size"):
        cross_correlation(ONE[:1], OTHER[:1])


def test_half_precision_is_not_used_for_correlations():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cross_correlation(ONE, OTHER), cross_correlation(ONE, OTHER).float())
        found = cross_correlation(ONE, OTHER)
    assert torch.equal(found, cross_correlation(ONE, OTHER))


def test_the_rank_of_known_spectra():
    close(effective_rank(torch.eye(5)), 5.0, depth=2, scale=5.0)
    line = torch.arange(1.0, 9.0)[:, None] * torch.ones(1, 5)
    assert 1 <= effective_rank(line) < 1.01
    two = torch.diag(torch.tensor([3.0, 1.0, 0.0, 0.0]))  # shares 3/4 and 1/4
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert abs(effective_rank(two) - expected) < 1e-3


def test_the_rank_of_what_is_not_finite_is_no_number():
    assert effective_rank(torch.tensor([[float("inf"), 1.0], [1.0, 2.0]])).isnan()


def test_neighbours_vote_by_their_nearness():
    train = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [0.2, 0.8]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    test, wanted = torch.tensor([[2.0, 0.1], [0.0, 5.0], [1.0, 0.2]]), torch.tensor([0, 1, 1])
    close(knn_accuracy(train, labels, test, wanted, k=5), 200 / 3, scale=100.0)
    with pytest.raises(ValueError, match="k must be in 1..5, got 6; there are 5 training images"):
        knn_accuracy(train, labels, test, wanted, k=6)
