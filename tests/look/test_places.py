import pytest
import torch
from helpers import classifier, host_classifier, photos

from robustnet_mm.look.places import Layout, default_names, find_block, find_module
from robustnet_mm.models import RobustNet


def test_an_unknown_module_is_answered_with_the_closest_names():
    with pytest.raises(ValueError, match=r"got 'backbone.cnn.block.3'; close.*backbone.cnn.blocks"):
        find_module(classifier(), "backbone.cnn.block.3")


def test_blocks_are_counted_from_either_end():
    assert [find_block(4, block) for block in (0, 3, -1, -4)] == [0, 3, 3, 0]
    for wrong in (4, -5):
        with pytest.raises(ValueError, match=rf"block must be in 0..3 .*got {wrong}"):
            find_block(4, wrong)


def test_the_default_places_are_the_first_and_last_block_of_each_stage():
    names = default_names(classifier())
    assert names == [
        *(f"backbone.cnn.blocks.{u}" for u in range(8)),
        "backbone.vit.model.blocks.0",
        "backbone.vit.model.blocks.3",
    ]
    assert default_names(host_classifier())[:2] == ["backbone.layer1.0", "backbone.layer1.1"]


def test_the_blocks_of_timms_cnns_are_found_under_timms_names():
    net = RobustNet(
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name="mobilenetv2_050"),
        vit=dict(
            type="robustnet_mm.ViTTower",
            model_name="deit_tiny_patch16_224",
            model_args=dict(depth=2, embed_dim=48, num_heads=3),
        ),
        weave=[(1, 0)],
    )
    names = default_names(net)
    assert names[0] == "cnn.model.blocks.0.0" and "cnn.model.blocks.6.0" in names
    assert names[-2:] == ["vit.model.blocks.0", "vit.model.blocks.1"]
    assert all(find_module(net, name) is not None for name in names)


@pytest.mark.parametrize("prefix", [0, 1])
def test_tokens_lie_on_their_grid(prefix):
    vit = classifier().backbone.vit
    layout = Layout(vit, photos())
    tokens = torch.arange(24.0).view(1, 24, 1)
    tokens = torch.cat([torch.full((1, prefix, 1), -1.0), tokens], 1)
    assert torch.equal(layout.to_map(tokens), torch.arange(24.0).view(1, 1, 4, 6))
