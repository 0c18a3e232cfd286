import numpy as np
import pytest
import torch
from helpers import apart, classifier, close, host_classifier, photos
from torch import nn

from robustnet_mm.look import attention, attention_distance, rollout, uniform_distance
from robustnet_mm.look.attention import visit_attention
from robustnet_mm.look.places import Layout
from robustnet_mm.models import SizedImages, ViTTower

SMALL = dict(depth=3, embed_dim=48, num_heads=3)
VITS = {
    "deit_tiny_patch16_224": SMALL,
    "vit_small_patch14_reg4_dinov2": SMALL,
    "vit_base_patch16_siglip_224": SMALL,  # no class token
    "vit_tiny_patch16_224": dict(**SMALL, qk_norm=True),
    "vit_small_patch16_dinov3": dict(depth=2),  # rotary, unlike halves
    "vit_small_patch16_rope_mixed_224": dict(depth=2),  # rotary, of each block
    "eva02_tiny_patch14_224": dict(depth=2),
    "beit_base_patch16_224": SMALL,  # a bias of each block
    "beitv2_base_patch16_224": dict(**SMALL, use_shared_rel_pos_bias=True),
}


def tower(name, **kwargs):
    vit = ViTTower(name, VITS.get(name, SMALL), **kwargs).eval()
    for key, parameter in vit.named_parameters():
        if "gamma" in key:
            nn.init.constant_(parameter, 0.5)
        if "qkv.weight" in key or "q_proj.weight" in key or "k_proj.weight" in key:
            nn.init.normal_(parameter, std=0.2)
        if "bias" in key or "norm" in key:
            nn.init.normal_(parameter, mean=float("weight" in key), std=0.3)
    return vit


def own_attention(vit, images):
    """What the blocks multiply their values with, fused attention off: block -> (N, h, L, L)."""
    found, handles = [], []
    for block in vit.blocks:
        block.attn.fused_attn = False
        keep = lambda m, args: found.append(args[0])  # noqa: E731
        handles.append(block.attn.attn_drop.register_forward_pre_hook(keep))
    with torch.no_grad():
        vit(images)
    for handle in handles:
        handle.remove()
    return found


def recomputed(vit, images):
    found = []
    visit_attention(vit, images, lambda index, matrix, layout: found.append(matrix))
    return found


@pytest.mark.parametrize("size", [(224, 224), (70, 98)])
@pytest.mark.parametrize("name", VITS)
def test_attention_recomputed_is_the_modules_own_with_fused_attention_off(name, size):
    vit, images = tower(name), torch.randn(1, 3, *size)
    assert all(block.attn.fused_attn for block in vit.blocks)
    found = recomputed(vit, images)
    assert all(block.attn.fused_attn for block in vit.blocks)
    expected = own_attention(vit, images)
    assert len(found) == len(expected) == len(vit.blocks)
    for one, other in zip(found, expected, strict=True):
        # a softmax hands on at most a quarter of the errors of its logits, which are that far apart
        logits = (other.amax(-1) / other.amin(-1).clamp_min(1e-30)).log().max().item()
        close(one, other, vit, scale=max(logits / 4, 1))
    assert max(float(m.std(-1).mean() * m.size(-1)) for m in found) > 0.05  # not uniform


def test_padding_is_no_key():
    images = photos()
    images = SizedImages.of(images, ((64, 48),))
    matrix = recomputed(classifier(), images)[1]
    patches = matrix[..., 1:].unflatten(-1, (4, 6))
    assert not patches[..., 3:].any() and patches[..., :3].sum() > 0
    close(matrix.sum(-1), torch.ones(1, 3, 25))


@pytest.mark.parametrize("size", [(64, 64), (80, 112)])
def test_attention_in_windows_stays_in_them_and_its_rows_sum_to_one(size):
    vit = tower("deit_tiny_patch16_224", window_size=2, global_blocks=(2,))
    images = torch.randn(1, 3, *size)
    first, _, last = recomputed(vit, images)
    for matrix in (first, last):
        close(matrix.sum(-1), torch.ones(matrix.shape[:-1]))
    h, w = Layout(vit, images).grid
    corner = first[0, 0, 1, 1:].unflatten(-1, (h, w))  # what the first patch sees
    assert corner[:2, :2].all() and not corner[2:].any() and not corner[:, 2:].any()
    assert last[0, 0, 1].all()
    whole = own_attention(vit, images)[0]  # (windows, heads, 1 + 4, 1 + 4)
    close(corner[:2, :2].flatten(), whole[0, 0, 1, 1:], vit)
    close(first[0, :, 0, 0], whole[:, :, 0, 0].mean(0), vit)


def test_rollout_rows_sum_to_one():
    found = rollout(classifier(), photos(2))
    assert found.shape == (2, 25, 25) and found.min() >= 0
    close(found.sum(-1), np.ones((2, 25)), depth=4)


def test_rollout_multiplies_the_blocks_in_their_order():
    vit, images = tower("deit_tiny_patch16_224"), torch.randn(1, 3, 48, 48)
    first, second, third = ((m[0].mean(0) + torch.eye(10)) / 2 for m in recomputed(vit, images))
    close(rollout(vit, images)[0], third @ second @ first, depth=3)
    assert apart(rollout(vit, images)[0], first @ second @ third)


def test_a_class_token_and_a_point_ask():
    model, images = classifier(), photos()
    matrices = []
    visit_attention(model, images, lambda index, matrix, layout: matrices.append(matrix))
    found = attention(model, images)
    assert found.shape == (1, 3, 4, 6)
    np.testing.assert_array_equal(found[0], matrices[-1][0, :, 0, 1:].unflatten(-1, (4, 6)))
    asked = attention(model, images, block=1, point=(40, 17))  # column 2, row 1
    row = 1 + 1 * 6 + 2
    np.testing.assert_array_equal(asked[0], matrices[1][0, :, row, 1:].unflatten(-1, (4, 6)))


def test_attention_to_all_alike_looks_as_far_as_the_reference_and_to_itself_not_at_all():
    model, images = classifier(), photos()
    for block in model.backbone.vit.blocks:
        nn.init.zeros_(block.attn.qkv.weight)
        nn.init.zeros_(block.attn.qkv.bias)
    found = attention_distance(model, images)
    assert found.shape == (1, 4, 3)
    close(found, np.full((1, 4, 3), uniform_distance(model, images)))
    rows = np.array([(y, x) for y in range(4) for x in range(6)]) * 16.0
    mean = np.linalg.norm(rows[:, None] - rows[None], axis=-1).mean()
    close(uniform_distance(model, images), mean)
    rows = rows[:18][np.tile(np.arange(6) < 5, 3)]  # 3 x 5 patches hold 40 x 80 pixels
    mean = np.linalg.norm(rows[:, None] - rows[None], axis=-1).mean()
    padded = dict(size=(40, 80))
    close(uniform_distance(model, images, **padded), mean)
    close(attention_distance(model, images, **padded), np.full((1, 4, 3), mean))


def test_wrong_blocks_points_and_models_are_named():
    model, images = classifier(), photos()
    with pytest.raises(ValueError, match=r"block must be in 0..3 .*got 4; closest: 2, 3"):
        attention(model, images, block=4)
    with pytest.raises(ValueError, match=r"x in 0..95 and y in 0..63.*got \(96, 0\)"):
        attention(model, images, point=(96, 0))
    with pytest.raises(ValueError, match="needs a backbone with a robustnet_mm.ViTTower, got Res"):
        attention(host_classifier(), images)
    vit = tower("vit_base_patch16_siglip_224")
    with pytest.raises(ValueError, match="has no class token: name a point"):
        attention(vit, images)
    assert attention(vit, images, point=(0, 0)).shape == (1, 3, 4, 6)
    block = model.backbone.vit.blocks[0]
    block.attn = type("OtherAttention", (type(block.attn),), {})(96)
    with pytest.raises(ValueError, match="attention of OtherAttention cannot be recomputed"):
        attention(model, images)


def test_blocks_that_keep_their_attention_to_themselves_are_named():
    from timm.models.vision_transformer import ParallelScalingBlock

    vit = ViTTower("vit_tiny_patch16_224", dict(**SMALL, block_fn=ParallelScalingBlock)).eval()
    with pytest.raises(
        ValueError, match="attention inside a ParallelScalingBlock cannot be recomp"
    ):
        rollout(vit, photos())
