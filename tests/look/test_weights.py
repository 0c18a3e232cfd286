import numpy as np
import torch

from robustnet_mm.look import weight_histograms


def test_histograms_share_their_bins_over_a_training(tmp_path):
    for epoch in (1, 2):
        state = {
            "a.weight": torch.linspace(-epoch, epoch, 100).view(10, 10),
            "a.running_mean": torch.ones(4),
            "a.num_batches_tracked": torch.tensor(3),
            "fresh.weight": torch.ones(7),
        }
        if epoch == 2:
            state["late.weight"] = torch.zeros(3)
            state["broken.weight"] = torch.full((3,), float("nan"))
        torch.save(dict(state_dict=state), tmp_path / f"epoch_{epoch}.pth")
    found = weight_histograms([str(tmp_path / f"epoch_{epoch}.pth") for epoch in (1, 2)], bins=20)
    assert list(found) == ["a.weight", "fresh.weight", "late.weight"]
    edges, shares = found["a.weight"]
    assert edges.shape == (21,) and (edges[0], edges[-1]) == (-2, 2) and shares.shape == (2, 20)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert not shares[0, :5].any() and shares[1].all()  # the first reaches half as far
    assert found["fresh.weight"][1].max() == 1
    assert np.isnan(found["late.weight"][1][0]).all() and found["late.weight"][1][1].sum() == 1
