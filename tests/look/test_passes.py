import numpy as np
import torch
from helpers import classifier, photos
from torch import nn

from robustnet_mm.look import Logits, cam, exchange_gradients
from robustnet_mm.look.cams import cam_of, tap_of
from robustnet_mm.look.gradients import exchange_taps, gradient_norms
from robustnet_mm.look.passes import Tap, run_once


def test_one_pass_gives_every_head_and_layer_as_each_alone_has_it():
    model, image = classifier(), photos()
    taps = {layer: tap_of(model, layer, image) for layer in ("map", "tokens")}
    ran = run_once(Logits(model), image, taps | exchange_taps(model, image))
    for output in ("cnn", "vit", "sum"):
        with torch.no_grad():
            assert torch.equal(ran.logits[output], Logits(model, output)(image))
        for layer in taps:
            for method in ("gradcam", "hirescam"):
                alone = cam(model, image, output, layer, method, target=2)[0]
                np.testing.assert_array_equal(cam_of(ran, layer, output, 2, method), alone)
        norms = gradient_norms(ran, output, 2)
        for place, alone in exchange_gradients(model, image, output, 2).items():
            np.testing.assert_array_equal(norms[place], alone[0])


class InPlace(nn.Module):
    """What the convolution gives is overwritten by the activation behind it."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True)

    def forward(self, images):
        return self.relu(self.conv(images)).mean((2, 3))


def test_a_value_is_what_the_module_gave_before_the_next_wrote_into_it():
    model, image = InPlace(), photos()
    ran = run_once(Logits(model), image, {"conv": Tap(model.conv)})
    assert torch.equal(ran.values["conv"], model.conv(image)) and ran.values["conv"].min() < 0
    gradient = ran.gradient("sum", 1, "conv")
    assert not gradient[:, 0].any() and not gradient[ran.values["conv"] < 0].any()
    assert gradient[:, 1][ran.values["conv"][:, 1] > 0].all()


def test_a_pass_leaves_neither_hooks_nor_gradients_nor_another_mode():
    model, image = classifier().train(), photos()
    run_once(Logits(model), image, exchange_taps(model, image)).gradient(
        "sum", 0, "exchange 0: CNN block 0"
    )
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert model.training
