import pytest
import torch
from helpers import close
from torchvision.models import squeezenet1_1

from robustnet_mm.registry import METRICS
from robustnet_mm.style_transfer import StyleSample

LOSS = dict(
    type="robustnet_mm.PerceptualLoss",
    network=dict(type="robustnet_mm.VGGFeatures", arch="vgg16", checkpoint="random"),
    content_layers=["relu2_1"],
    style_layers=["relu1_1"],
)
PICTURES = [torch.randint(0, 256, (3, 32, 40 + 8 * k), dtype=torch.uint8) for k in range(2)]


def judged(predictions, **kwargs):
    """Predictions are RGB, inputs have blue first."""
    metric = METRICS.build(dict(type="robustnet_mm.StyleMetric", name="vgg", loss=LOSS, **kwargs))
    samples = []
    for picture in predictions:
        samples.append(StyleSample())
        samples[-1].picture = picture
    inputs = dict(content=PICTURES, style=PICTURES[::-1])
    metric.process(dict(inputs=inputs), [sample.to_dict() for sample in samples])
    return metric, metric.evaluate(size=len(samples))


def test_the_metric_is_the_mean_of_the_losses_of_the_pairs():
    metric, found = judged([content.flip(0) for content in PICTURES])
    assert found["vgg/content"] == 0 and found["vgg/ahead"] == 0
    assert found["vgg/style"] == found["vgg/content_itself_style"]
    one, other = (metric.loss.features(p.flip(0)[None].float() / 255) for p in PICTURES)
    expected = (metric.loss.style(one, other) + metric.loss.style(other, one)) / 2
    close(found["vgg/style"], expected, depth=2)


def test_ahead_is_the_share_of_pairs_that_took_on_style():
    styled = PICTURES[1].flip(0)[..., :40]  # the style of the first pair, of the content's size
    _, found = judged([styled, torch.zeros_like(PICTURES[1])])
    assert found["vgg/ahead"] == 0.5


def test_ssim_and_lpips_are_asked_for_and_say_how_much_is_kept(tmp_path, monkeypatch):
    pytest.importorskip("torchmetrics")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="lpips must be one of alex, vgg, squeeze, got 'vgg16'"):
        judged([], lpips="vgg16")
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    torch.save(squeezenet1_1().state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    asked = dict(ssim=True, lpips="squeeze")
    _, same = judged([content.flip(0) for content in PICTURES], **asked)
    close(same["vgg/ssim"], 1.0, depth=2)
    close(same["vgg/lpips"], 0.0, depth=2)
    _, grey = judged([torch.full_like(content, 128) for content in PICTURES], **asked)
    assert grey["vgg/ssim"] < 0.1 and grey["vgg/lpips"] > 0
