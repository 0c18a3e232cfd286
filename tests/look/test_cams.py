import numpy as np
import pytest
import torch
from helpers import classifier, close, host_classifier, photos
from torch import nn

from robustnet_mm.look import Logits, cam
from robustnet_mm.look.cams import METHODS


class Quadrant(nn.Module):
    """Class 1 is the brightness of one quadrant, class 0 that of the whole."""

    def __init__(self, rows, columns):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, stride=4)
        nn.init.constant_(self.conv.weight, 0.1)
        nn.init.zeros_(self.conv.bias)
        self.place = (rows, columns)

    def forward(self, images):
        maps = self.conv(images)
        inside = maps[..., self.place[0], self.place[1]]
        return torch.stack([maps.mean((1, 2, 3)), inside.mean((1, 2, 3))], 1)


@pytest.mark.parametrize("method", ["hirescam", "layercam"])
@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("left", [True, False])
def test_the_cam_of_a_model_that_looks_at_one_quadrant_lights_that_quadrant(method, top, left):
    """Place by place: the whole image is bright, and only the gradient knows the quadrant."""
    rows, columns = (slice(0, 4) if first else slice(4, 8) for first in (top, left))
    model, images = Quadrant(rows, columns), torch.rand(1, 3, 32, 32) + 0.5
    found = cam(model, images, layer=model.conv, method=method, target=1)[0]
    lit = np.zeros((32, 32), bool)
    lit[:16, :16] = True
    lit = np.roll(lit, (0 if top else 16, 0 if left else 16), (0, 1))
    assert found[lit].mean() > 0.6 and found[lit].sum() > 0.9 * found.sum()


class QuadrantChannels(nn.Module):
    """A channel answers to each quadrant; class k is the mean of channel k."""

    def __init__(self):
        super().__init__()
        self.split = nn.Identity()

    def forward(self, images):
        maps = images.mean(1, keepdim=True).repeat(1, 4, 1, 1)
        mask = torch.zeros_like(maps)
        for k, (y, x) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
            mask[:, k, y : y + 4, x : x + 4] = 1
        return self.split(maps * mask).mean((2, 3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", range(4))
def test_every_method_lights_the_quadrant_whose_channel_the_class_reads(method, target):
    model, images = QuadrantChannels(), torch.rand(1, 3, 8, 8) + 0.5
    model.weight = nn.Parameter(torch.zeros(1))  # the package asks for the device of a weight
    found = cam(model, images, layer=model.split, method=method, target=target)[0]
    y, x = 4 * (target // 2), 4 * (target % 2)
    assert found[y : y + 4, x : x + 4].all()
    found[y : y + 4, x : x + 4] = 0
    assert not found.any()


def test_gradcam_is_what_its_paper_says():
    """Channels weighted by their mean gradient, summed, negative values cut (Selvaraju, 2017)."""
    model, images = classifier(), photos(1, 64, 64)
    feats = model.backbone(images)
    last = feats.maps[-1].detach().requires_grad_()
    logit = model.head.cnn(feats._replace(maps=(last,)))[0, 2]
    (gradient,) = torch.autograd.grad(logit, last)
    expected = (gradient.mean((2, 3), keepdim=True) * last).sum(1)[0].clamp_min(0).detach()
    found = cam(model, images, "cnn", "map", target=2)[0]
    top = np.unravel_index(found.argmax(), found.shape)
    place = np.unravel_index(int(expected.argmax()), expected.shape)
    assert expected.any() and (top[0] // 32, top[1] // 32) == place


def test_the_cam_of_the_cnn_head_does_not_change_when_the_vit_heads_weights_do():
    model, images = classifier(), photos()
    before = {output: cam(model, images, output, target=1) for output in ("cnn", "vit", "sum")}
    tokens = {output: cam(model, images, output, "tokens", target=1) for output in before}
    nn.init.normal_(model.head.vit.fc.weight, std=5)
    np.testing.assert_array_equal(cam(model, images, "cnn", target=1), before["cnn"])
    np.testing.assert_array_equal(cam(model, images, "cnn", "tokens", target=1), tokens["cnn"])
    assert np.abs(cam(model, images, "sum", "tokens", target=1) - tokens["sum"]).max() > 0.05
    assert np.abs(cam(model, images, "vit", "tokens", target=1) - tokens["vit"]).max() > 0.05


def test_the_vit_head_sees_the_tokens_and_not_the_last_map():
    model, images = classifier(), photos(2)
    assert not cam(model, images, "vit", "map", target=0).any()
    assert cam(model, images, "vit", "tokens").shape == (2, 64, 96)
    assert any(cam(model, images, "vit", "tokens", target=k).any() for k in range(5))


def test_windows_are_laid_out_as_the_image_for_the_cam():
    model = classifier(vit=dict(window_size=2, global_blocks=(1,)))
    found = cam(model, photos(), "vit", "tokens", target=0)
    assert found.shape == (1, 64, 96)


def test_a_classifier_of_the_host_has_a_cam_on_its_last_map():
    model, images = host_classifier(), photos()
    assert cam(model, images).shape == (1, 64, 96)
    with pytest.raises(ValueError, match="needs a backbone with a robustnet_mm.ViTTower, got Res"):
        cam(model, images, layer="tokens")


def test_a_cam_leaves_neither_hooks_nor_gradients():
    model, images = classifier(), photos()
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    cam(model, images, "sum", "tokens")
    cam(Logits(model), images)
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_wrong_methods_layers_and_classes_are_named():
    model, images = classifier(), photos()
    with pytest.raises(ValueError, match="method must be one of gradcam, .*got 'grad'"):
        cam(model, images, method="grad")
    with pytest.raises(ValueError, match="layer must be one of map, tokens or a module, got 'las"):
        cam(model, images, layer="last")
    with pytest.raises(ValueError, match="target must be a class in 0..4, got -1"):
        cam(model, images, target=-1)
    with pytest.raises(ValueError, match="did not run"):
        cam(model, images, layer=nn.Conv2d(1, 1, 1))


def test_a_cam_is_relative_to_its_largest_value_alone():
    """An even map stays even, and what is half as strong stays half as strong."""
    model = QuadrantChannels()
    model.weight = nn.Parameter(torch.zeros(1))
    images = torch.full((1, 3, 8, 8), 2.0)
    images[..., :4, :2] = 1.0
    model.forward = lambda images: model.split(images).mean((2, 3))
    found = cam(model, images, layer=model.split, target=0)[0]
    close(found[:4, :2], np.full((4, 2), 0.5))
    close(found[4:], np.ones((4, 8)))
