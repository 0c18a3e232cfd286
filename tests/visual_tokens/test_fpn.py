"""VT-FPN: what it costs beside FPN, and what it does to any maps."""

import pytest
import torch
from helpers import close
from mmdet.models import FPN
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from robustnet_mm.visual_tokens import VTFPN

CHANNELS = (8, 16, 24)


def small(**kwargs):
    return VTFPN(CHANNELS, 32, **dict(num_tokens=2, token_channels=32, num_heads=2, **kwargs))


def maps(height, width):
    sizes = [(height, width), (height // 2, width // 2), (height // 3, width // 5)]
    return [torch.randn(2, c, *size) for c, size in zip(CHANNELS, sizes, strict=True)]


def multiply_adds(neck, found):
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        neck.eval()(found)
    return counter.get_total_flops() / 2e9


def test_it_costs_what_the_paper_says_and_fpn_too():
    """Table 9, at 800 x 1216 on ResNet-50: 55.1 and 8.5 G, 6.4 to 6.5 times fewer."""
    channels = [256, 512, 1024, 2048]
    with torch.device("meta"):
        found = [
            torch.empty(1, c, 800 // s, 1216 // s)
            for c, s in zip(channels, (4, 8, 16, 32), strict=True)
        ]
        fpn = multiply_adds(FPN(channels, 256, 4), found)
        own = multiply_adds(VTFPN(channels), found)
    assert fpn == pytest.approx(55.1, rel=0.01) and own == pytest.approx(8.5, rel=0.02)
    assert fpn / own == pytest.approx(6.45, rel=0.02)


@pytest.mark.parametrize("size", [(12, 20), (7, 11)])
def test_any_maps_become_maps_of_one_width_and_all_parameters_get_gradients(size):
    neck, found = small(num_outs=5), maps(*size)
    results = neck(found)
    assert [r.shape[:2] for r in results] == [(2, 32)] * 5
    assert [r.shape[2:] for r in results[:3]] == [f.shape[2:] for f in found]
    assert results[4].shape[2] == (results[3].shape[2] + 1) // 2
    sum(result.square().sum() for result in results[:3]).backward()
    assert all(p.grad is not None and p.grad.any() for p in neck.parameters())


def test_every_level_hears_all_others_by_tokens():
    neck, found = small().eval(), maps(12, 20)
    before = neck(found)
    found[2] = found[2] + 1
    assert all(not torch.equal(a, b) for a, b in zip(before, neck(found), strict=True))


def test_a_level_reads_its_own_tokens():
    neck, found = small().eval(), maps(12, 20)
    laterals = [lateral(feat) for lateral, feat in zip(neck.laterals, found, strict=True)]
    tokens = [make(feat).tokens for make, feat in zip(neck.tokenizers, laterals, strict=True)]
    heard = neck.transformer(torch.cat(tokens, 1))
    close(neck(found)[1], neck.projectors[1](laterals[1], heard[:, 2:4]), neck)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: small()(maps(12, 20)[:2]),
            r"must be those of the backbone's maps, \(8, 16\), got",
        ),
        (lambda: small()(((), torch.randn(1, 4, 32))), "reads maps of one level each"),
        (lambda: VTFPN([]), "a number for each map of the backbone, got none"),
        (lambda: small(num_outs=2), "num_outs must be a whole number from 3 on, got 2: it counts"),
        (lambda: small()(maps(4, 5)), "at most the pixels of the map, 1 x 1, got 2"),
        (lambda: small(groups=5), "groups must divide 32"),
    ],
)
def test_levels_that_do_not_fit_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
