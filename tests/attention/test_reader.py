"""The attention that a head reads is the module's own; on hand-made cases it is what it must be."""

from copy import deepcopy

import pytest
import torch
from helpers import close

from robustnet_mm.attention import AttentionReader, TokenAttention
from robustnet_mm.attention.reader import ShuffledAttention, UniformAttention
from robustnet_mm.models import RobustNet, SizedImages, ViTTower
from robustnet_mm.models.towers.vit_families import attention_matrix

IMAGES = torch.randn(2, 3, 64, 96)


def given(matrix, grid, kind=TokenAttention, num_prefix=1, asked="class"):
    return kind([lambda rows: matrix[:, :, rows]], num_prefix, grid, asked)


NO_CLASS_TOKEN = dict(class_token=False, global_pool="avg")


@pytest.mark.parametrize(
    "name, args",
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", NO_CLASS_TOKEN),
        ("eva02_tiny_patch14_224", {}),
        ("beit_base_patch16_224", {}),
    ],
)
def test_maps_and_spreading_are_those_of_the_whole_matrix(name, args):
    vit = ViTTower(model_name=name, model_args=dict(args, depth=2)).eval()
    for parameter in vit.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)  # attention that is not nearly uniform
    asked, seen = "class" if vit.num_prefix_tokens else "received", []
    last = vit.blocks[-1].attn
    handle = last.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(attention_matrix(module, *args, **kwargs)),
        with_kwargs=True,
    )
    with torch.no_grad(), AttentionReader(vit, asked=asked) as reader:
        tokens, grid = vit(IMAGES)
    handle.remove()
    attention, (matrix,) = reader.attention((grid,)), seen
    prefix, number = vit.num_prefix_tokens, grid[0] * grid[1]
    patches = matrix[..., prefix:] / matrix[..., prefix:].sum(-1, keepdim=True)
    row = patches[:, :, 0] if asked == "class" else patches[:, :, prefix:].mean(2)
    with torch.no_grad():
        maps, values = attention.maps(), torch.randn(2, number, 5)
        close(maps, number * row.unflatten(2, grid), vit)
        close(attention.spread(values), patches[:, :, prefix:].mean(1) @ values, vit)
    assert maps.shape == (2, matrix.size(1), *grid)
    close(maps.mean((2, 3)), torch.ones(2, matrix.size(1)), vit)
    assert maps.std() > 0.01


@pytest.mark.parametrize("asked", ["class", "received"])
@pytest.mark.parametrize("control", [None, "uniform"])
def test_what_was_padded_to_a_batch_neither_asks_nor_counts(asked, control):
    vit = ViTTower("vit_tiny_patch16_224", model_args=dict(depth=2)).eval()
    for parameter in vit.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)

    def read(images):
        with torch.no_grad(), AttentionReader(vit, asked=asked, control=control) as reader:
            attention = reader.attention(vit(images))
            tokens = torch.ones(len(images), attention.grid[0] * attention.grid[1], 1)
            return attention.maps(), attention.spread(tokens)

    alone = read(IMAGES[:1, :, :, :48])[0]
    images = IMAGES.clone()
    images[0, :, :, 48:] = 0
    maps, spread = read(SizedImages.of(images, [(64, 48), (64, 96)]))
    close(maps[:1, ..., :3], alone, vit)
    assert not maps[0, ..., 3:].any() and maps[1].all()
    close(spread, torch.ones_like(spread), vit)


def test_attention_to_one_point_and_to_all():
    grid, number = (2, 3), 6
    point = torch.zeros(1, 2, 1 + number, 1 + number)
    point[..., 1 + 4] = 1
    attention, values = given(point, grid), torch.randn(1, number, 3)
    expected = torch.zeros(1, 2, 2, 3)
    expected[:, :, 1, 1] = 6
    assert torch.equal(attention.maps(), expected)
    assert torch.equal(attention.spread(values), values[:, 4:5].expand(-1, 6, -1))
    assert torch.equal(given(point, grid, asked="received").maps(), expected)
    uniform = given(point, grid, UniformAttention)
    assert torch.equal(uniform.maps(), torch.ones(1, 2, 2, 3))
    close(uniform.spread(values), values.mean(1, keepdim=True).expand(-1, 6, -1))
    shuffled = given(point, grid, ShuffledAttention)
    assert sorted(shuffled.maps().flatten().tolist()) == sorted(expected.flatten().tolist())
    assert torch.equal(shuffled.maps(), given(point, grid, ShuffledAttention).maps())
    mine = torch.eye(1 + number)[None, None]
    assert torch.equal(given(mine, grid).spread(values), values)  # each patch looks at itself
    assert not torch.equal(given(mine, grid, ShuffledAttention).spread(values), values)


@pytest.mark.parametrize("with_cp", [False, True])
def test_gradients_reach_the_blocks_that_are_read(with_cp):
    net = RobustNet("nano", with_cp=with_cp).train()
    with AttentionReader(net, blocks=(1, -1)) as reader:
        outputs = net(IMAGES)
    attention = reader.attention(outputs)
    assert attention.maps().size(1) == 2 * net.vit.blocks[0].attn.num_heads
    read = (
        attention.maps().square().sum()
        + attention.spread(
            IMAGES[:, :1].flatten(2)[..., : outputs.grid[0] * outputs.grid[1]].transpose(1, 2)
        )
        .square()
        .sum()
    )
    read.backward()
    for name in ("blocks.0.mlp.fc1.weight", "blocks.1.attn.qkv.weight", "patch_embed.proj.weight"):
        assert net.vit.model.get_parameter(name).grad.abs().sum() > 0


def test_rows_are_made_again_in_the_backward_pass_and_not_kept():
    vit = ViTTower(model_name="vit_tiny_patch16_224", model_args=dict(depth=1)).train()
    with AttentionReader(vit) as reader:
        _, grid = vit(torch.randn(1, 3, 512, 512))
    attention, saved = reader.attention((grid,)), []
    values = torch.randn(1, 1024, 8, requires_grad=True)

    def keep(tensor):
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        attention.spread(values)
    assert max(saved, default=0) < 3 * 256 * 1024  # heads, rows, L


def test_a_copy_of_a_model_reads_its_own_blocks():
    net = RobustNet("nano").eval()
    reader = AttentionReader(net)
    both = torch.nn.ModuleDict(dict(net=net))
    both.reader = reader
    copy = deepcopy(both)
    assert copy.reader.modules[0] is copy.net.vit.blocks[-1].attn is not reader.modules[0]
    with pytest.raises(ValueError, match="images must be"), reader:
        net(IMAGES)
        net(IMAGES[:, :2])
    deepcopy(both)  # holds no graph of the pass that failed


def test_what_cannot_be_read_is_said():
    with pytest.raises(ValueError, match="needs a backbone with a robustnet_mm.ViTTower, got Conv"):
        AttentionReader(torch.nn.Conv2d(3, 3, 1))
    net = RobustNet("nano")
    number = len(net.vit.blocks)
    with pytest.raises(ValueError, match=f"each of blocks must be in -{number}..{number - 1}"):
        AttentionReader(net, blocks=(9,))
    with pytest.raises(ValueError, match="each once, got"):
        AttentionReader(net, blocks=(0, -number))
    registers = ViTTower(
        model_name="vit_tiny_patch16_224",
        model_args=dict(NO_CLASS_TOKEN, depth=1, reg_tokens=4),
    )
    with pytest.raises(ValueError, match="needs a ViT with a class token"):
        AttentionReader(registers)
    with pytest.raises(ValueError, match="control must be None, 'uniform' or 'shuffled'"):
        AttentionReader(net, control="random")
    without = ViTTower(model_name="vit_tiny_patch16_224", model_args=dict(NO_CLASS_TOKEN, depth=1))
    with pytest.raises(ValueError, match="set asked='received'"):
        AttentionReader(without)
    windows = RobustNet("nano", vit=dict(window_size=2, global_blocks=[number - 1]))
    with AttentionReader(windows, blocks=(0,)) as reader:
        outputs = windows(IMAGES)
    with pytest.raises(ValueError, match="one that attends within windows"):
        reader.attention(outputs)
