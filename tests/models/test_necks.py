import pytest
import torch
from helpers import close

from robustnet_mm.models import RobustNet, SimplePyramid, TowerNeck, TowerOutputs
from robustnet_mm.registry import MODELS

CHANNELS = (32, 64, 128, 256)


@pytest.fixture
def out():
    return RobustNet("nano").eval()(torch.randn(2, 3, 97, 130))


@pytest.mark.parametrize("form", ["zero_linear", "gated"])
def test_at_the_start_the_pretrained_pyramid_is_handed_on_exactly(out, form):
    merged = TowerNeck(CHANNELS, 96, form=form)(out)
    assert type(merged) is tuple
    assert all(torch.equal(a, b) for a, b in zip(merged, out.maps, strict=True))


@pytest.mark.parametrize("form", ["zero_linear", "gated", "ungated"])
def test_an_open_neck_adds_the_vits_map_at_its_place(form):
    neck = TowerNeck((4, 4), 8, form=form)
    for name, parameter in neck.linears.named_parameters():
        (torch.nn.init.zeros_ if "bias" in name else torch.nn.init.normal_)(parameter)
    maps, tokens = (torch.zeros(1, 4, 16, 24), torch.zeros(1, 4, 4, 6)), torch.zeros(1, 7, 8)
    tokens[:, 1 + 5] = torch.randn(8)  # patch (1, 2) of a 2 x 3 grid
    for feat in neck(TowerOutputs(maps, tokens, (2, 3))):
        height, width = feat.shape[-2:]
        assert feat[..., -1, -1].abs().sum() > 0
        assert feat[..., : height // 4, :].abs().sum() == 0
        assert feat[..., : width // 2].abs().sum() == 0


def test_what_is_added_is_the_resized_projection_of_the_normed_map(out):
    neck = TowerNeck(CHANNELS, 96)
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    tokens = torch.nn.functional.layer_norm(
        out.tokens[:, 1:], (96,), neck.norm.weight, neck.norm.bias, eps=1e-6
    )
    vit_map = tokens.transpose(1, 2).reshape(2, 96, *out.grid)
    linear = neck.linears[1]
    level = torch.einsum("cd,ndhw->nchw", linear.weight / 96**0.5, vit_map)
    level = level + linear.bias[:, None, None]
    size = out.maps[1].shape[-2:]
    added = torch.nn.functional.interpolate(level, size, mode="bilinear", align_corners=False)
    close(neck(out)[1], out.maps[1] + added, depth=2)


def test_levels_below_the_start_pass_as_they_are(out):
    neck = TowerNeck(CHANNELS, 96, start_level=1, form="ungated")
    merged = neck(out)
    assert len(neck.linears) == 3
    changed = [not torch.equal(a, b) for a, b in zip(merged, out.maps, strict=True)]
    assert changed == [False, True, True, True]


def test_a_hosts_fpn_takes_it_as_it_is_and_gets_contiguous_maps(out):
    neck = MODELS.build(
        [
            dict(type="robustnet_mm.TowerNeck", in_channels=CHANNELS, embed_dims=96),
            dict(type="mmdet.FPN", in_channels=list(CHANNELS), out_channels=16, num_outs=5),
        ]
    )
    assert [level.size(1) for level in neck(out)] == [16] * 5
    outputs = out._replace(maps=tuple(m.to(memory_format=torch.channels_last) for m in out.maps))
    assert not outputs.maps[0].is_contiguous()
    assert all(feat.is_contiguous() for feat in neck[0](outputs))


def test_a_pyramid_or_other_channels_are_refused(out):
    with pytest.raises(ValueError, match="set out_type='towers' in the backbone"):
        TowerNeck(CHANNELS, 96)(out.maps)
    with pytest.raises(ValueError, match=r"must be those .*\(32, 64, 128, 256\), got \(64, 64\)"):
        TowerNeck((64, 64), 96)(out)


def test_levels_missing_at_the_end_are_made_by_pooling():
    cnn = dict(type="robustnet_mm.TimmCNNTower", model_name="resnet10t")
    cnn["model_args"] = dict(output_stride=16)
    vit = dict(type="robustnet_mm.ViTTower", model_name="deit_tiny_patch16_224")
    vit["model_args"] = dict(depth=2, embed_dim=48, num_heads=3)
    net = RobustNet(cnn=cnn, vit=vit).eval()
    out = net(torch.randn(1, 3, 81, 100))
    assert net.out_strides == (4, 8, 16)
    neck = TowerNeck(net.out_channels, net.embed_dims, num_levels=5)
    levels = neck(out)
    assert neck.out_channels == (*net.out_channels, 512, 512)
    assert [tuple(x.shape[-2:]) for x in levels] == [(21, 25), (11, 13), (6, 7), (3, 4), (2, 2)]
    assert torch.equal(levels[2], out.maps[2])
    assert torch.equal(levels[3], torch.nn.functional.max_pool2d(out.maps[2], 2, ceil_mode=True))
    for linear in neck.linears:
        torch.nn.init.normal_(linear.weight)
    assert not torch.equal(neck(out)[4], levels[4])  # the ViT's map joins there too
    with pytest.raises(ValueError, match="num_levels must be at least the 3 levels .* got 2"):
        TowerNeck(net.out_channels, net.embed_dims, num_levels=2)


@pytest.mark.parametrize("prefix", [0, 1])
def test_a_vit_alone_gives_a_pyramid_whose_levels_see_a_patch_and_its_neighbours_only(prefix):
    """As ViTDet's: nothing goes from a coarser level to a finer one."""
    neck, tokens = SimplePyramid(8, out_channels=6, num_outs=5), torch.randn(2, prefix + 15, 8)
    maps = neck((tokens, (3, 5)))
    sizes = [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]
    assert [tuple(m.shape) for m in maps] == [(2, 6, *size) for size in sizes]
    tokens[:, prefix + 7] = torch.randn(8)  # patch (1, 2)
    for before, after, scale in zip(maps, neck((tokens, (3, 5))), (4, 2, 1), strict=False):
        seen = torch.zeros(after.shape[-2:], dtype=torch.bool)
        seen[scale - 1 : 2 * scale + 1, 2 * scale - 1 : 3 * scale + 1] = True  # by the 3x3
        assert torch.equal((before != after).any(0).any(0), seen)


def test_every_level_of_a_vit_alone_is_normed_over_its_channels():
    neck = SimplePyramid(64, out_channels=16, num_outs=4)
    for feat in neck((100 * torch.randn(1, 12, 64), (3, 4))):
        assert (
            feat.mean(1).abs().max() < 1e-5 and (feat.std(1, correction=0) - 1).abs().max() < 1e-2
        )
