import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import close
from torchvision.models import vgg

from robustnet_mm.registry import MODELS
from robustnet_mm.style_transfer.losses import gram, total_variation
from robustnet_mm.style_transfer.networks import TowerFeatures, VGGFeatures
from robustnet_mm.style_transfer.transfer import adain

PICTURES, OTHERS = torch.rand(1, 3, 40, 56), torch.rand(1, 3, 48, 32)
VGG = dict(type="robustnet_mm.VGGFeatures", arch="vgg16", checkpoint="random")
TOWER = dict(type="robustnet_mm.ConvTower", arch="nano")


def loss_of(**kwargs):
    settings = dict(network=VGG, content_layers=["relu2_1"], style_layers=["relu1_1", "relu2_1"])
    return MODELS.build(dict(type="robustnet_mm.PerceptualLoss", **settings | kwargs))


def published(arch, path):
    """torchvision's `features` with random weights, and a file of them under its names."""
    layout = vgg.cfgs[dict(vgg16="D", vgg19="E")[arch]]
    features = vgg.make_layers(layout, batch_norm=False).eval()
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, path)
    return features


def test_gram_of_half_precision_does_not_overflow():
    feat = 2 * torch.rand(1, 3, 300, 300)
    with torch.autocast("cpu", dtype=torch.float16):
        found = gram(feat.half())
    np.testing.assert_allclose(found, gram(feat), rtol=1e-3)  # the maps were rounded to 11 bits


@pytest.mark.parametrize("arch", ["vgg16", "vgg19"])
def test_maps_are_torchvisions_by_name_from_a_file(arch, tmp_path):
    model = published(arch, tmp_path / "vgg.pth")
    net = VGGFeatures(arch, ["relu1_2", "relu3_1"], checkpoint=str(tmp_path / "vgg.pth"))
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    x = (PICTURES - mean) / std
    found = net(PICTURES)
    assert list(found) == ["relu1_2", "relu3_1"]
    close(found["relu1_2"], model[:4](x), depth=3)
    close(found["relu3_1"], model[:12](x), depth=6)  # two blocks of two convolutions


def test_blue_first_and_other_means_are_stated_in_the_config(tmp_path):
    model = published("vgg16", tmp_path / "vgg.pth")
    norm = dict(mean=(122.0, 116.0, 104.0), std=(1.0, 1.0, 1.0))
    net = VGGFeatures("vgg16", ["relu1_1"], str(tmp_path / "vgg.pth"), norm, to_bgr=True)
    x = (255 * PICTURES - torch.tensor(norm["mean"]).view(3, 1, 1)).flip(1)
    close(net(PICTURES)["relu1_1"], model[:2](x), depth=3)


def test_the_network_is_no_part_of_its_loss():
    loss = loss_of()
    assert not loss.state_dict() and not list(loss.parameters())
    network = loss.network.network
    assert copy.deepcopy(loss).network.network is network
    loss.train()
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_a_picture_is_no_distance_from_itself():
    loss = loss_of()
    seen = loss.features(PICTURES)
    assert loss.content(seen, seen, seen) == loss.style(seen, seen) == 0
    assert loss.identity(seen, seen) == 0


@pytest.mark.parametrize("style", ["statistics", "gram"])
def test_styles_of_any_size_are_compared_and_places_do_not_matter(style):
    loss = loss_of(style=style)
    one, other = loss.features(PICTURES), loss.features(OTHERS)
    assert loss.style(one, other) > 0
    flipped = {name: feat.flip(-1) for name, feat in one.items()}
    close(loss.style(flipped, other), loss.style(one, other), depth=4)


def test_contents_are_compared_place_by_place():
    loss = loss_of(normalized=False)
    one, other = loss.features(PICTURES), loss.features(PICTURES.flip(-1))
    close(loss.content(one, other, other), F.mse_loss(one["relu2_1"], other["relu2_1"]))
    with pytest.raises(ValueError, match="pictures of one size"):
        loss.content(one, loss.features(OTHERS), one)


def test_a_normalised_content_forgets_brightness_and_contrast():
    loss = loss_of()
    seen = {name: 100 * feat for name, feat in loss.features(PICTURES).items()}  # above eps
    brighter = {name: 3 * feat + 1 for name, feat in seen.items()}
    assert (
        loss.content(brighter, seen, seen)
        < 1e-4
        < loss_of(normalized=False).content(brighter, seen, seen)
    )


def test_the_target_of_adain_is_the_content_with_the_statistics_of_the_style():
    loss = loss_of(content_target="adain", normalized=False)
    content, style = loss.features(PICTURES), loss.features(OTHERS)
    target = dict(relu2_1=adain(content["relu2_1"], style["relu2_1"]))
    assert loss.content(target, content, style) == 0 < loss.content(content, content, style)


def test_gram_and_total_variation_by_hand():
    feat = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # two channels, two places
    close(gram(feat), torch.tensor([[[2.5, 5.5], [5.5, 12.5]]]))
    picture = torch.tensor([[[[0.0, 1.0], [2.0, 2.0]]]])
    close(total_variation(picture), (4 + 1) / 2 + (1 + 0) / 2)


def test_a_tower_stands_in_for_vgg():
    loss = loss_of(
        network=dict(type="robustnet_mm.TowerFeatures", tower=TOWER, random=True),
        content_layers=["level2"],
        style_layers=["level0", "level1"],
    )
    assert list(loss.features(PICTURES)) == ["level0", "level1", "level2", "level3"]
    vit = dict(
        type="robustnet_mm.ViTTower",
        model_name="deit_tiny_patch16_224",
        model_args=dict(depth=1, embed_dim=48, num_heads=3),
    )
    assert TowerFeatures(vit, random=True)(PICTURES)["tokens"].shape == (1, 48, 3, 4)


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(network=dict(VGG, arch="vgg11")), "arch must be one of vgg16, vgg19"),
        (dict(network=dict(VGG, checkpoint="lost.pth")), "lost.pth"),
        (dict(network=dict(type="robustnet_mm.TowerFeatures", tower=TOWER)), "has no weights"),
        (dict(content_layers=["relu9_1"]), "layers must be one of relu1_1"),
        (dict(style="texture"), "style must be one of statistics, gram"),
        (dict(content_target="adain"), "set normalized=False"),
    ],
)
def test_what_is_wrong_is_named(change, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        loss_of(**change)


def test_a_file_of_another_network_is_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"no vgg16 of torchvision: features\.0\.weight"):
        VGGFeatures("vgg16", ["relu1_1"], str(tmp_path / "other.pth"))


def test_half_precision_is_near_and_the_distances_stay_whole():
    whole, half = loss_of(), loss_of(bfloat16=True)
    pictures, others = PICTURES.clone().requires_grad_(), torch.rand_like(PICTURES)
    found = half.features(pictures)
    for name, feat in whole.features(PICTURES).items():
        assert found[name].dtype == torch.float32
        # two roundings to 8 bits for each of three layers, of sums of errors of either sign
        assert (found[name] - feat).norm() < 6 * 2**-8 * feat.norm()
        assert not torch.equal(found[name], feat)
    half.style(found, half.features(others)).backward()
    assert pictures.grad.isfinite().all() and pictures.grad.dtype == torch.float32
