import pytest
import torch
import torch.nn.functional as F
from helpers import close

from robustnet_mm.models.fiu import FIU, FORMS, Expand, Squeeze
from robustnet_mm.models.grids import add_guide, pool_to_grid
from robustnet_mm.models.paper_fiu import PaperExpand, PaperSqueeze

DETAIL = torch.randn(2, 16, 8, 12)


def random_(module):
    """Every parameter random: also gates, norms and biases, whose start hides mistakes."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def fiu_of(form, **kwargs):
    return random_(FIU(16, 16, 24, form=form, **kwargs)).eval()


def conv(x, proj):
    return F.conv2d(x, proj.weight[..., None, None], proj.bias)


def test_pooling_first_equals_the_papers_order():
    """Paper: 1x1 convolution at full map size, average pooling, LayerNorm, GELU."""
    squeeze = random_(PaperSqueeze(16, 24, gated=True))
    detail, grid = torch.randn(2, 16, 28, 56), (7, 14)
    pooled = F.avg_pool2d(conv(detail, squeeze.proj), 4).flatten(2).transpose(1, 2)
    expected = squeeze.gate(F.gelu(squeeze.norm(pooled)))
    close(squeeze(detail, None, grid), expected, squeeze)


def test_expand_equals_the_papers_order():
    """Paper: 1x1 convolution, BatchNorm, ReLU, nearest resize; the resize comes at the addition."""
    expand = random_(PaperExpand(24, 16, gated=True)).eval()
    tokens, x = torch.randn(2, 6, 24), torch.randn(2, 16, 8, 12)
    maps = tokens.transpose(1, 2).reshape(2, 24, 2, 3)
    maps = F.relu(expand.norm(conv(maps, expand.proj))) * expand.gate.scale[:, None, None]
    expected = x + maps.repeat_interleave(4, 2).repeat_interleave(4, 3)
    close(add_guide(x, expand(tokens, None, (2, 3))), expected, expand)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 2), (3, 50)])
def test_any_map_pools_to_any_grid_and_keeps_constants(size):
    pooled = pool_to_grid(torch.full((1, 2, *size), 3.0), (4, 5))
    close(pooled, torch.full((1, 2, 4, 5), 3.0))


def test_a_cell_that_cuts_through_pixels_takes_the_mean_of_all_it_touches():
    x = torch.randn(1, 1, 6, 6)
    close(pool_to_grid(x, (4, 4))[..., 0, 1], x[..., 0:2, 1:3].mean((2, 3)))


def test_pooling_takes_each_cell_from_its_own_place():
    x = torch.zeros(1, 1, 8, 12)
    x[..., 2:4, 8:12] = 1.0
    expected = torch.zeros(1, 1, 4, 3)
    expected[..., 1, 2] = 1.0
    assert torch.equal(pool_to_grid(x, (4, 3)), expected)


def test_a_squeeze_maps_the_normed_mean_of_each_cell():
    squeeze = random_(Squeeze(16, 24))
    means = F.avg_pool2d(DETAIL, 4).flatten(2).transpose(1, 2)
    expected = squeeze.norm(means) @ squeeze.linear.weight.T / 16**0.5 + squeeze.linear.bias
    close(squeeze(DETAIL, None, (2, 3)), expected, squeeze)


def test_an_expand_maps_each_normed_token_to_its_place():
    expand, tokens = random_(Expand(24, 16)), torch.randn(2, 3 + 6, 24)
    guide = expand(tokens, None, (2, 3))
    token = expand.norm(tokens[1, 3 + 4])  # row 1, column 1
    close(guide[1, :, 1, 1], expand.linear.weight @ token / 24**0.5 + expand.linear.bias, expand)


@pytest.mark.parametrize("form", FORMS)
def test_prefix_tokens_pass_a_squeeze_untouched(form):
    fiu, tokens = fiu_of(form), torch.randn(2, 3 + 6, 24)
    out = fiu.into_tokens(tokens, torch.randn(2, 16, 8, 12), (2, 3))
    assert torch.equal(out[:, :3], tokens[:, :3])
    assert not torch.isclose(out[:, 3:], tokens[:, 3:]).any(-1).all()


@pytest.mark.parametrize("form", FORMS)
def test_expand_ignores_prefix_tokens(form):
    fiu, tokens = fiu_of(form), torch.randn(2, 3 + 6, 24)
    other = torch.cat([torch.randn(2, 3, 24), tokens[:, 3:]], 1)
    assert torch.equal(fiu.guide(tokens, DETAIL, (2, 3)), fiu.guide(other, DETAIL, (2, 3)))


@pytest.mark.parametrize(
    "form, first",
    [("zero_linear", ".linear."), ("gated", ".gate."), ("ungated", None), ("tokens", ".linear.")],
)
def test_what_starts_at_zero_adds_nothing_and_learns_first_and_then_all_does(form, first):
    fiu = FIU(16, 16, 24, form=form)
    tokens, detail = torch.randn(2, 7, 24), torch.randn(2, 16, 8, 12)
    optimizer = torch.optim.SGD(fiu.parameters(), lr=0.1)

    def added():
        guide = fiu.guide(tokens, DETAIL, (2, 3))
        return fiu.into_tokens(tokens, detail, (2, 3)) - tokens, guide

    assert any(part.any() for part in added()) == (first is None)
    for step in range(2):
        optimizer.zero_grad()
        sum((part * torch.randn_like(part)).sum() for part in added()).backward()
        for name, parameter in fiu.named_parameters():
            assert parameter.grad is not None  # so that DDP waits for none in vain
            assert bool(parameter.grad.any()) == (step == 1 or not first or first in name), name
        optimizer.step()


def test_ungated_units_have_no_gates():
    fiu = FIU(16, 16, 24, form="ungated")
    assert not any("gate" in name for name, _ in fiu.named_parameters())


@pytest.mark.parametrize("direction, to_vit, to_cnn", [("cnn_to_vit", 1, 0), ("vit_to_cnn", 0, 1)])
def test_one_direction_has_one_half(direction, to_vit, to_cnn):
    fiu = FIU(16, 16, 24, direction)
    assert (fiu.squeeze is not None, fiu.expand is not None) == (to_vit, to_cnn)
    tokens = torch.randn(2, 7, 24)
    if not to_vit:
        assert fiu.into_tokens(tokens, torch.randn(2, 16, 8, 12), (2, 3)) is tokens
    if not to_cnn:
        assert fiu.guide(tokens, DETAIL, (2, 3)) is None


def test_additive_attention_starts_exactly_and_adds_a_share_between_nothing_and_the_sum():
    whole, part = random_(FIU(16, 16, 24)).eval(), FIU(16, 16, 24, fuse="attention").eval()
    tokens, detail = torch.randn(2, 7, 24), torch.randn(2, 16, 8, 12)
    assert torch.equal(part.into_tokens(tokens, detail, (2, 3)), tokens)
    assert not part.guide(tokens, detail, (2, 3)).any()
    part.load_state_dict(whole.state_dict(), strict=False)
    for added, most in (
        (part.into_tokens(tokens, detail, (2, 3)), whole.into_tokens(tokens, detail, (2, 3))),
        (part.guide(tokens, detail, (2, 3)), whole.guide(tokens, detail, (2, 3))),
    ):
        start = tokens if added.shape == tokens.shape else torch.zeros_like(added)
        share = ((added - start) / (most - start))[(most - start).abs() > 1e-2]
        assert 0 < share.min() < share.max() < 1


@pytest.mark.parametrize("grid", [(2, 3), (5, 4)])
def test_additive_attention_weighs_each_position_by_itself(grid):
    fiu = random_(FIU(16, 16, 24, "vit_to_cnn", fuse="attention")).eval()
    tokens, detail = torch.randn(1, grid[0] * grid[1], 24), torch.randn(1, 16, 20, 24)
    before = fiu.guide(tokens, detail, grid)
    tokens[:, 0] += 1
    changed = (fiu.guide(tokens, detail, grid) != before).any(1)
    assert changed[0, 0, 0] and changed.sum() == 1


def test_a_dropped_exchange_leaves_whole_images_alone_in_training_only():
    fiu = random_(FIU(16, 16, 24, drop_rate=0.5)).train()
    tokens, detail = torch.randn(64, 7, 24), torch.randn(64, 16, 8, 12)
    dropped = fiu.into_tokens(tokens, detail, (2, 3)), fiu.guide(tokens, detail, (2, 3))
    fiu.eval()
    whole = fiu.into_tokens(tokens, detail, (2, 3)), fiu.guide(tokens, detail, (2, 3))
    alone = tokens, torch.zeros_like(whole[1])
    for some, all_, none in zip(dropped, whole, alone, strict=True):
        untouched = (some == none).flatten(1).all(1)
        assert 10 < untouched.sum() < 54
        assert torch.equal(some[~untouched], all_[~untouched])
