import numpy as np
import pytest
import torch
from helpers import classifier, close, host_classifier, photos

from robustnet_mm.look import edges, features, pca_colours, top_channels
from robustnet_mm.models import ConvTower, ViTTower


def test_features_are_what_the_modules_give():
    model, images = classifier(), photos(2)
    found = features(model, images)
    outputs = model.backbone(images)
    last = outputs.maps[-1].detach()
    close(found["backbone.cnn.blocks.7"], last, model.backbone)
    tokens = outputs.tokens[:, 1:].transpose(1, 2).unflatten(2, outputs.grid).detach()
    close(found["backbone.vit.model.blocks.3"], tokens, model.backbone)
    squeezed = features(model, images, ["backbone.fius.0.squeeze"])["backbone.fius.0.squeeze"]
    assert squeezed.shape == (2, 96, 4, 6)


def test_tokens_in_windows_lie_on_the_grid_of_the_image():
    """A block that leaves its tokens as they are gives back the embedded patches."""
    model, images = classifier(vit=dict(window_size=2, global_blocks=(3,))), photos()
    block = model.backbone.vit.blocks[0]
    for linear in (block.attn.proj, block.mlp.fc2):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    name = "backbone.vit.model.blocks.0"
    embedded = features(model, images, [f"{name}.norm1", name])
    tokens = model.backbone.vit.embed(images)[0]
    net = model.backbone
    squeezed = net.fius[0].into_tokens(tokens, net.cnn.blocks[0](net.cnn.stem(images))[1], (4, 6))
    expected = squeezed[:, 1:].transpose(1, 2).unflatten(2, (4, 6)).detach()
    close(embedded[name], expected, depth=3)


def test_any_classifier_shows_its_stages():
    found = features(host_classifier(), photos())
    assert found["backbone.layer1.0"].shape == (1, 8, 16, 24)


def test_modules_that_give_no_map_or_do_not_run_are_named():
    model, images = classifier(), photos()
    with pytest.raises(ValueError, match=r"module head.cnn.fc gives no map but \(1, 5\)"):
        features(model, images, ["head.cnn.fc"])
    with pytest.raises(ValueError, match="module backbone.cnn.blocks did not run"):
        features(model, images, ["backbone.cnn.blocks"])
    with pytest.raises(ValueError, match="close to it: backbone.cnn.conv1"):
        features(model, images, ["backbone.cnn.conv"])


def test_the_strongest_channels_come_first():
    feat = np.zeros((4, 2, 2), np.float32)
    feat[1], feat[3] = -3, 2
    assert top_channels(feat, 2).tolist() == [1, 3]


def test_like_tokens_have_like_colours():
    feat = np.random.default_rng(0).normal(size=(16, 3, 4))
    feat[:, 0, 0] = feat[:, 2, 3]
    colours = pca_colours(feat)
    assert colours.shape == (3, 4, 3) and colours.min() == 0 and colours.max() == 1
    close(colours[0, 0], colours[2, 3])
    assert np.abs(colours[0, 1] - colours[0, 0]).max() > 0.05
    assert pca_colours(np.ones((16, 2, 2))).shape == (2, 2, 3)  # no two tokens differ


def test_each_sobel_answers_to_its_own_edges():
    vertical = np.zeros((1, 8, 8), np.float32)
    vertical[..., 4:] = 1
    found = edges(vertical)
    assert found.shape == (1, 2, 8, 8)
    assert found[0, 0].max() == 4 and not found[0, 1].any()
    across = edges(vertical.transpose(0, 2, 1))
    assert across[0, 1].max() == 4 and not across[0, 0].any()
    assert torch.equal(torch.from_numpy(across[0, 1]), torch.from_numpy(found[0, 0].T))


def test_a_module_before_an_activation_in_place_keeps_its_own_values():
    model, images = host_classifier().eval(), photos()
    found = features(model, images, ["backbone.bn1"])["backbone.bn1"]
    expected = model.backbone.bn1(model.backbone.conv1(images)).detach()
    assert expected.min() < 0
    close(found, expected)


@pytest.mark.parametrize(
    "tower, first", [(ConvTower("nano"), "blocks.0"), (None, "model.blocks.0")]
)
def test_a_tower_alone_shows_its_blocks(tower, first):
    vit = dict(depth=2, embed_dim=48, num_heads=3)
    tower = tower or ViTTower("deit_tiny_patch16_224", vit)
    found = features(tower, photos())
    assert first in found and all(feat.ndim == 4 for feat in found.values())
