import pytest
import torch
from helpers import apart, close

from robustnet_mm.models import RobustNet, ViTTower
from robustnet_mm.models.towers.positions import cut_positions
from robustnet_mm.models.towers.windows import Windows

SMALL = dict(depth=3, embed_dim=48, num_heads=3)
VITS = {
    "deit_tiny_patch16_224": SMALL,
    "vit_small_patch14_reg4_dinov2": SMALL,
    "vit_small_patch16_dinov3": dict(depth=2),
    "vit_small_patch16_rope_mixed_224": dict(depth=2),
    "vit_base_patch16_siglip_224": SMALL,
    "eva02_tiny_patch14_224": dict(depth=2),
}


def pair(name, **kwargs):
    """The same weights without windows and with them; LayerScale opened, so that all shows."""
    plain = ViTTower(name, VITS[name]).eval()
    for key, parameter in plain.named_parameters():
        if "gamma" in key:
            torch.nn.init.constant_(parameter, 0.5)
    windowed = ViTTower(name, VITS[name], **kwargs).eval()
    windowed.load_state_dict(plain.state_dict())
    return plain, windowed


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("size", [8, 11])
def test_one_window_over_the_whole_grid_is_attention_to_the_whole(name, size):
    plain, windowed = pair(name, window_size=size)
    images = torch.randn(2, 3, 70, 112)
    with torch.no_grad():
        close(windowed(images)[0], plain(images)[0], plain)


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_each_window_sees_its_own_real_patches_and_the_prefix_only(name, size):
    """Against a loop over windows without padding, whose prefix tokens are averaged."""
    plain, windowed = pair(name, window_size=size)
    images = torch.randn(2, 3, 80, 112)
    with torch.no_grad():
        tokens, positions = windowed.embed(images)
        h, w = positions.grid
        whole = plain.embed(images)[1]
        out = windowed.run(1, tokens, positions)
        prefix, patches = tokens[:, : -h * w], tokens[:, -h * w :].unflatten(1, (h, w))
        expected, prefixes = torch.empty_like(patches), []
        tall, wide = (-(-side // -(-side // size)) for side in (h, w))
        for top in range(0, h, tall):
            for left in range(0, w, wide):
                cell = slice(top, top + tall), slice(left, left + wide)
                window = patches[:, cell[0], cell[1]]
                table = whole.table
                if table is not None:
                    table = table.unflatten(-2, (h, w))[..., cell[0], cell[1], :].flatten(-3, -2)
                inside = torch.cat([prefix, window.flatten(1, 2)], dim=1)
                inside = plain.run(1, inside, whole._replace(table=table))
                count = inside.size(1) - prefix.size(1)
                expected[:, cell[0], cell[1]] = inside[:, -count:].view_as(window)
                prefixes.append(inside[:, :-count])
        expected = torch.cat([torch.stack(prefixes).mean(0), expected.flatten(1, 2)], dim=1)
    close(out, expected, plain.blocks[1])
    if (h, w) != (size, size):
        assert apart(out, plain.run(1, tokens, whole))


def test_global_blocks_attend_to_the_whole():
    plain, windowed = pair("deit_tiny_patch16_224", window_size=2, global_blocks=(0, 1, 2))
    images = torch.randn(1, 3, 80, 112)
    assert torch.equal(plain(images)[0], windowed(images)[0])


def test_cutting_and_merging_give_back_the_tokens():
    for grid, size, area in (((5, 7), 3, 9), ((6, 6), 3, 9), ((1, 9), 4, 3), ((50, 84), 14, 182)):
        windows = Windows(grid, size, num_prefix=2)
        tokens = torch.randn(2, 2 + grid[0] * grid[1], 4)
        cut = windows.partition(tokens)
        count = windows.counts[0] * windows.counts[1]
        assert cut.shape == (2 * count, 2 + area, 4)
        close(windows.merge(cut), tokens)
        mask = cut_positions(windows, None, None, 2, "cpu")["window_mask"]
        real = 2 * count * (2 + area) if mask is None else mask.sum().item()
        assert real == 2 * (count * 2 + grid[0] * grid[1])


@pytest.mark.parametrize("with_cp", [False, True])
def test_a_woven_network_with_windows_starts_exactly_and_learns(with_cp):
    vit = dict(window_size=2, global_blocks=(3,), with_cp=with_cp)
    net = RobustNet("nano", vit=vit).train()
    images = torch.randn(2, 3, 70, 101)
    out = net(images)
    assert torch.equal(out.tokens, net.vit(images)[0])
    out.tokens.square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.vit.parameters())


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("deit_tiny_patch16_224", dict(window_size=0), "whole number from 1 on, got 0: .*patches"),
        ("deit_tiny_patch16_224", dict(global_blocks=(1,)), r"global_blocks=\(1,\) needs window_s"),
        (
            "deit_tiny_patch16_224",
            dict(window_size=7, global_blocks=(2, 3)),
            r"must be in 0..2, got 3",
        ),
        ("beitv2_base_patch16_224", dict(window_size=7), "window_size is not for BEiT"),
    ],
)
def test_wrong_windows_are_named(name, settings, message):
    with pytest.raises(ValueError, match=message):
        ViTTower(name, SMALL, **settings)
