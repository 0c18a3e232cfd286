import pytest
import torch
import torchvision
from helpers import close, waken

from robustnet_mm.models import ConvTower, TimmCNNTower
from robustnet_mm.models.towers.conv import CONV_ARCHS

CONFORMER_LEVELS = [6, 14, 20, 22]  # the units that end conv_trans_4, 8, 11, 12


def count(modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnext50_32x4d"])
def test_a_resnet_tower_computes_what_torchvision_computes(name):
    theirs, ours = torchvision.models.get_model(name).eval(), ConvTower(name).eval()
    # the flat order of blocks equals the order of torchvision's own parameters
    ours.load_state_dict(
        dict(zip(ours.state_dict(), list(theirs.state_dict().values())[:-2], strict=True))
    )
    images = torch.randn(2, 3, 97, 64)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
    for stage, feat in zip("1234", ours(images), strict=True):
        x = getattr(theirs, f"layer{stage}")(x)
        assert torch.equal(x, feat)


@pytest.mark.parametrize("name", ["resnet101", "resnext101_32x8d"])
def test_large_resnets_have_torchvisions_shape(name):
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name), ConvTower(name)
    shapes = [tuple(v.shape) for v in theirs.state_dict().values()][:-2]
    assert [tuple(v.shape) for v in ours.state_dict().values()] == shapes


@pytest.mark.parametrize("size, ratio", [("tiny", 1), ("small", 4), ("base", 6)])
def test_conformers_conv_branch_has_the_published_shape(size, ratio):
    from mmpretrain.models import Conformer

    theirs, ours = Conformer(size), ConvTower(f"conformer_{size}")
    convs = [theirs.conv1, theirs.bn1, theirs.conv_1]
    for i in range(2, 13):
        block = getattr(theirs, f"conv_trans_{i}")
        convs += [block.cnn_block, block.fusion_block]
    assert count([ours]) == count(convs)
    assert len(ours.blocks) == 23 and ours.level_ends == CONFORMER_LEVELS
    c = 64 * ratio
    assert ours.out_channels == (c, 2 * c, 4 * c, 4 * c)


def test_a_fresh_cnn_keeps_its_maps_in_range_with_untrained_statistics():
    for feat in ConvTower("conformer_tiny", norm_eval=True).train()(torch.randn(1, 3, 96, 96)):
        assert 0.1 < feat.std() < 10


@pytest.mark.parametrize("arch", CONV_ARCHS)
def test_declared_channels_and_strides_are_those_of_the_maps(arch):
    tower = ConvTower(arch).eval()
    maps = tower(torch.randn(1, 3, 64, 96))
    assert tower.out_channels == tuple(feat.size(1) for feat in maps)
    assert [feat.shape[-2:] for feat in maps] == [(64 // s, 96 // s) for s in tower.out_strides]


def test_an_unknown_cnn_lists_the_known():
    with pytest.raises(ValueError, match="must be one of nano, resnet18.*got 'resnet5'"):
        ConvTower("resnet5")


@pytest.mark.parametrize(
    "make", [lambda **k: ConvTower("resnet18", **k), lambda **k: TimmCNNTower("regnety_002", **k)]
)
def test_channels_last_changes_the_layout_inside_and_nothing_else(make):
    """What leaves is contiguous: mmcv's RoIAlign on CPUs reads other layouts wrongly."""
    plain, tower = waken(make()).eval(), make(channels_last=True).eval()
    tower.load_state_dict(plain.state_dict())
    inside = []
    tower.blocks[1].register_forward_hook(lambda module, args, out: inside.append(out[0]))
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        for a, b in zip(tower(images), plain(images), strict=True):
            close(a, b, tower)
            assert a.is_contiguous()
    assert inside[0].is_contiguous(memory_format=torch.channels_last)
