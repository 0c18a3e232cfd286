"""Swin's windows: the recomputed attention is the module's own, at any size, shifted and padded."""

import pytest
import torch
from helpers import close
from mmengine.registry import DefaultScope
from mmpretrain.models import SwinTransformer, SwinTransformerV2

from robustnet_mm.attention import reader_of
from robustnet_mm.attention.windows import WindowReader, Windows, window_matrix

ARCH = dict(embed_dims=12, depths=[2, 2], num_heads=[2, 3])


def swin(**kwargs):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        net = SwinTransformer(ARCH, window_size=4, out_indices=(0, 1), pad_small_map=True, **kwargs)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    net.eval()  # which returns nothing
    return net


@pytest.mark.parametrize("size", [(64, 64), (50, 75), (24, 40)])
@pytest.mark.parametrize("block", [0, 1, 2, 3])
def test_recomputed_windows_are_the_modules_own(size, block):
    net, images = swin(), torch.randn(2, 3, *size)
    attn = [m for m in net.modules() if hasattr(m, "w_msa")][block]
    seen = {}

    def keep(module, args, kwargs, output):
        seen["windows"], seen["mask"], seen["out"] = args[0], kwargs["mask"], output

    handle = attn.w_msa.register_forward_hook(keep, with_kwargs=True)
    with torch.no_grad(), WindowReader(net, blocks=(block,)) as reader:
        outputs = net(images)
    handle.remove()
    matrix = window_matrix(attn.w_msa, seen["windows"], seen["mask"])
    value = attn.w_msa.qkv(seen["windows"]).chunk(3, -1)[2].unflatten(-1, (matrix.size(1), -1))
    with torch.no_grad():
        again = attn.w_msa.proj((matrix @ value.transpose(1, 2)).transpose(1, 2).flatten(2))
    close(again, seen["out"], net)
    attention = reader.attention(outputs)
    assert attention.grid == tuple(outputs[block // 2].shape[-2:]) or block > 1
    maps = attention.maps()
    assert maps.shape == (2, matrix.size(1), *attention.grid)
    total = maps.sum((2, 3))  # what is asked by each patch arrives once
    close(total, torch.full_like(total, attention.grid[0] * attention.grid[1]), net)
    assert maps.std() > 0.01
    ones = torch.ones(2, attention.grid[0] * attention.grid[1], 5)
    close(attention.spread(ones), ones, net)


@pytest.mark.parametrize("shift", [0, 2])
def test_cut_windows_merge_to_the_same_map(shift):
    attn = [m for m in swin().modules() if hasattr(m, "w_msa")][shift // 2]
    assert attn.shift_size == shift
    windows, tokens = Windows(attn, (6, 9)), torch.randn(2, 54, 3)
    assert torch.equal(windows.merge(windows.cut(tokens)), tokens)


def test_controls_stay_within_windows():
    net, images = swin(), torch.randn(1, 3, 64, 64)
    found = {}
    for control in (None, "uniform", "shuffled"):
        with torch.no_grad(), reader_of(net, blocks=(1,), control=control) as reader:
            outputs = net(images)
        found[control] = reader.attention(outputs)
    maps = found["uniform"].maps()
    assert torch.equal(maps, torch.ones_like(maps))
    assert not torch.equal(found[None].maps(), found["shuffled"].maps())
    assert found[None].patch_size == (4, 4)
    tokens = torch.zeros(1, 256, 1)
    tokens[0, 0] = 1  # of the corner: the shifted window holds three other corners, unseen
    for attention in found.values():
        reached = attention.spread(tokens).unflatten(1, (16, 16))[0, ..., 0] > 0
        assert reached[:2, :2].any() and reached.sum() <= 4
    assert (
        found["uniform"]
        .spread(tokens)
        .unflatten(1, (16, 16))[0, :2, :2, 0]
        .allclose(torch.tensor(0.25))
    )


def test_gradients_reach_what_the_attention_is_made_of():
    net = swin()
    with reader_of(net, blocks=(2, 3)) as reader:
        outputs = net(torch.randn(1, 3, 64, 64))
    reader.attention(outputs).maps().square().sum().backward()
    assert net.stages[1].blocks[1].attn.w_msa.qkv.weight.grad.abs().sum() > 0
    assert net.patch_embed.projection.weight.grad.abs().sum() > 0


def test_what_cannot_be_read_is_said():
    net = swin()
    with pytest.raises(ValueError, match="asked must be 'received' for a Swin, got 'class'"):
        reader_of(net, asked="class")
    with pytest.raises(ValueError, match=r"must be of one stage, got \(1, 2\)"):
        reader_of(net, blocks=(1, 2))
    with pytest.raises(ValueError, match="with_cp=True has no gradients: set with_cp=False"):
        reader_of(swin(with_cp=True))
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        other = SwinTransformerV2(
            dict(ARCH, extra_norm_every_n_blocks=0), img_size=64, window_size=4, out_indices=(1,)
        )
    with pytest.raises(ValueError, match="got WindowMSAV2 in SwinTransformerV2"):
        reader_of(other)
    with pytest.raises(ValueError, match="robustnet_mm.ViTTower or an mmpretrain.SwinTransformer"):
        reader_of(torch.nn.Conv2d(3, 3, 1))
