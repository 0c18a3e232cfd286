import numpy as np
import pytest
import torch
from helpers import classifier, close, photos
from torch import nn

from robustnet_mm.look import (
    Logits,
    activations_of,
    exchange_gradients,
    guided_backprop,
    integrated_gradients,
    saliency,
)


class Linear(nn.Module):
    """Logits that are a known weight for each pixel."""

    def __init__(self, classes=4, shape=(3, 6, 8)):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, *shape))

    def forward(self, images):
        return torch.einsum("nchw,kchw->nk", images, self.weight)


@pytest.mark.parametrize("target", range(4))
def test_saliency_of_a_linear_model_is_its_weights(target):
    model, images = Linear(), torch.randn(2, 3, 6, 8)
    expected = model.weight[target].abs().amax(0).detach().numpy()
    found = saliency(model, images, target=target)
    assert found.shape == (2, 6, 8)
    np.testing.assert_array_equal(found, np.stack([expected] * 2))


def test_by_default_the_predicted_class_of_each_image_is_explained():
    model, images = Linear(), torch.randn(4, 3, 6, 8)
    predicted = model(images).argmax(1)
    expected = model.weight[predicted].abs().amax(1).detach().numpy()
    assert len(set(predicted.tolist())) > 1
    np.testing.assert_array_equal(saliency(model, images), expected)


def test_integrated_gradients_of_a_linear_model_are_weight_times_pixel():
    model, images = Linear(), torch.randn(2, 3, 6, 8)
    expected = (model.weight[1] * images).sum(1).detach().numpy()
    found = integrated_gradients(model, images, target=1)
    close(found, expected)


@pytest.mark.parametrize("output", ["cnn", "vit", "sum"])
def test_integrated_gradients_sum_to_what_the_image_adds_to_the_logit(output):
    # gated: on the way from a blank image a norm in front of a layer turns in a few steps
    model, images = classifier(form="gated"), 0.1 * photos(1, 32, 32)
    found = integrated_gradients(model, images, output, target=2, steps=100)
    with torch.no_grad():
        logits = [Logits(model, output)(x)[0, 2] for x in (images, torch.zeros_like(images))]
    assert found.sum() == pytest.approx(float(logits[0] - logits[1]), rel=0.05, abs=0.02)


def test_guided_backprop_stops_negative_gradients_at_each_relu():
    """Two units of a pixel: one with a negative weight behind its ReLU, one with a positive."""
    model = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2, bias=False)
    )
    model[0].weight.data = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])[..., None, None]
    model[3].weight.data = torch.tensor([[2.0, -1.0], [0.0, 0.0]])
    pixel = torch.ones(1, 3, 1, 1)
    assert saliency(model, pixel, target=0).item() == 3.0  # |2 * (1, 2, 3) - 5| at most
    assert guided_backprop(model, pixel, target=0).item() == 6.0  # 2 * 3, nothing taken off


def test_guided_backprop_without_a_relu_is_the_plain_gradient():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(64, 3))
    images = torch.randn(1, 3, 6, 6)
    np.testing.assert_array_equal(guided_backprop(model, images), saliency(model, images))
    assert activations_of(model) == {"GELU": 1}


def test_guided_backprop_differs_from_the_gradient_in_a_cnn_whose_relus_work_in_place():
    model, images = classifier(), photos()
    guided, plain = (f(model, images, "cnn", 1) for f in (guided_backprop, saliency))
    assert np.abs(guided - plain).max() > 0.1 * plain.max()
    assert any(module.inplace for module in model.modules() if isinstance(module, nn.ReLU))


def test_a_head_does_not_hang_on_the_other_tower_when_the_gates_are_closed():
    model, images = classifier(opened=False), photos()
    before = saliency(model, images, "cnn", 0)
    nn.init.normal_(model.backbone.vit.model.patch_embed.proj.weight)
    np.testing.assert_array_equal(saliency(model, images, "cnn", 0), before)


def test_gradients_at_the_exchanges_are_those_of_autograd():
    model, images = classifier(), photos()
    found = exchange_gradients(model, images, "sum", 3)
    assert list(found) == [
        "exchange 0: CNN block 0",
        "exchange 0: ViT block 0",
        "exchange 3: CNN block 6",
        "exchange 3: ViT block 3",
    ]
    assert [maps.shape for maps in found.values()] == [
        (1, 16, 24),
        (1, 4, 6),
        (1, 2, 3),
        (1, 4, 6),
    ]
    kept = []
    handle = model.backbone.cnn.blocks[6].register_forward_hook(lambda m, a, out: kept.append(out))
    logit = Logits(model)(images)[0, 3]
    handle.remove()
    expected = torch.autograd.grad(logit, kept[0][0])[0].norm(dim=1)
    close(found["exchange 3: CNN block 6"], expected, model.backbone.cnn.blocks[7])


def test_a_head_that_does_not_see_a_place_has_a_map_of_zeros_there():
    found = exchange_gradients(classifier(), photos(), "cnn", 0)
    assert all(maps.any() for maps in found.values())  # the last expand reaches the last block
    found = exchange_gradients(classifier(direction="cnn_to_vit"), photos(), "cnn", 0)
    assert not found["exchange 0: ViT block 0"].any()


def test_gradients_need_exchanges():
    with pytest.raises(ValueError, match="the towers do not exchange"):
        exchange_gradients(classifier(direction="none"), photos())
