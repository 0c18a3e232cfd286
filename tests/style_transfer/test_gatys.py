import pytest
import torch

from robustnet_mm.registry import MODELS
from robustnet_mm.style_transfer import optimize_picture

LOSS = dict(
    type="robustnet_mm.PerceptualLoss",
    network=dict(type="robustnet_mm.VGGFeatures", arch="vgg16", checkpoint="random"),
    content_layers=["relu2_1"],
    style_layers=["relu1_1", "relu2_1"],
)
CONTENT, STYLE = torch.rand(1, 3, 24, 32), torch.rand(1, 3, 40, 16) ** 3


def test_an_optimised_picture_is_ahead_of_both_on_the_whole_loss():
    loss = MODELS.build(LOSS)
    found = optimize_picture(CONTENT, STYLE, loss, 20, content_weight=1.0, style_weight=5.0)
    assert found.shape == CONTENT.shape and found.min() >= 0 and found.max() <= 1
    of_content, of_style = loss.features(CONTENT), loss.features(STYLE)

    def total(picture):
        of_picture = loss.features(picture)
        style = loss.style(of_picture, of_style)
        return style.item(), (loss.content(of_picture, of_content, of_style) + 5 * style).item()

    style, whole = total(found)
    itself, before = total(CONTENT)
    assert style < 0.5 * itself and whole < 0.5 * before


def test_without_style_the_content_stays():
    loss = MODELS.build(LOSS)
    assert torch.equal(optimize_picture(CONTENT, STYLE, loss, 3, style_weight=0.0), CONTENT)


def test_no_steps_are_an_error():
    with pytest.raises(ValueError, match="steps"):
        optimize_picture(CONTENT, STYLE, MODELS.build(LOSS), 0)
