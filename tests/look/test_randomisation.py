import numpy as np
import pytest
import torch
from helpers import classifier, photos

from robustnet_mm.look import cascading_randomisation, saliency


@pytest.mark.parametrize("output", ["cnn", "vit", "sum"])
def test_saliency_loses_its_rank_correlation_as_weights_become_random(output):
    model, images = classifier(), photos(2)
    found = cascading_randomisation(model, images, output)
    steps = list(found)
    assert steps[:3] == ["as trained", "heads", "blocks, quarter 4 of 4"]
    assert steps[-1] == "stem and patch embedding"
    assert (found["as trained"] == 1).all() and found[steps[-1]].shape == (2,)
    assert (found[steps[-1]] < 0.6).all()


def test_a_map_that_ignores_the_weights_keeps_its_correlation():
    """An edge detector passes for an explanation, and is found out."""

    def edges_of_the_input(model, images, output, target):
        return images.diff(dim=-1).abs().amax(1).numpy()

    found = cascading_randomisation(classifier(), photos(), method=edges_of_the_input)
    np.testing.assert_allclose(np.concatenate(list(found.values())), 1, atol=1e-9)


def test_every_weight_is_replaced_once_and_the_model_is_kept():
    model = classifier()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    spread = [name for name, weight in model.named_parameters() if weight.std() > 0]
    seen = []

    def method(copied, *args):
        seen.append({name: weight.clone() for name, weight in copied.named_parameters()})
        return saliency(copied, *args)

    cascading_randomisation(model, photos(), method=method)
    for name in spread:
        states = [state[name] for state in seen]
        changes = [not torch.equal(a, b) for a, b in zip(states, states[1:], strict=False)]
        assert changes.count(True) == 1, name
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
