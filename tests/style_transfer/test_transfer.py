import numpy as np
import pytest
import torch
from helpers import apart, close

from robustnet_mm.style_transfer.decoder import MirroredDecoder
from robustnet_mm.style_transfer.transfer import AttentionTransfer, adain, statistics

CONTENT, STYLE = torch.randn(2, 32, 5, 7), 3 * torch.randn(2, 32, 9, 4) + 1


def test_adain_equals_its_formula():
    content, style = CONTENT.numpy().astype(float), STYLE.numpy().astype(float)
    mean, std = content.mean((2, 3), keepdims=True), np.sqrt(content.var((2, 3), keepdims=True))
    expected = (content - mean) / std * style.std((2, 3), keepdims=True)
    expected = expected + style.mean((2, 3), keepdims=True)
    found = adain(CONTENT.double(), STYLE.double())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # eps of the variances


def test_a_result_of_adain_has_the_statistics_of_the_style():
    for got, expected in zip(statistics(adain(CONTENT, STYLE)), statistics(STYLE), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_adain_of_a_map_with_itself_changes_nothing():
    close(adain(CONTENT, CONTENT), CONTENT, depth=4)


def test_a_constant_channel_has_a_gradient():
    flat = torch.ones(1, 2, 3, 3, requires_grad=True)
    adain(flat, STYLE[:1, :2]).sum().backward()
    assert flat.grad.isfinite().all()


def awake(width):
    """Layers that start at zero say something."""
    transfer = AttentionTransfer(width).eval()
    for parameter in transfer.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return transfer


def test_attention_starts_at_adain_exactly_and_leaves_it():
    transfer = AttentionTransfer(32)
    assert torch.equal(transfer(CONTENT, STYLE), adain(CONTENT, STYLE))
    assert apart(awake(32)(CONTENT, STYLE), adain(CONTENT, STYLE))


def test_attention_keeps_the_contents_grid_and_ignores_the_order_of_the_style():
    transfer = awake(32)
    shuffled = STYLE.flatten(2)[..., torch.randperm(36)].unflatten(2, (6, 6))
    out = transfer(CONTENT, STYLE)
    assert out.shape == CONTENT.shape
    close(transfer(CONTENT, shuffled), out, transfer)


def test_attention_equals_its_formula():
    """softmax(q k / sqrt(d)) v for each head, by hand."""
    attention = awake(64).layers[0].attention
    query, style = torch.randn(1, 6, 64), torch.randn(1, 5, 64)
    q, k, v = (
        layer(x).unflatten(2, (2, 32)).transpose(1, 2)
        for layer, x in ((attention.query, query), (attention.key, style), (attention.value, style))
    )
    mixed = (q @ k.transpose(2, 3) / 32**0.5).softmax(-1) @ v
    expected = attention.out(torch.cat([mixed[:, 0], mixed[:, 1]], -1))
    close(attention(query, style, style), expected, attention)


def test_positions_come_from_the_content():
    """Two equal tokens in other neighbourhoods are told apart."""
    transfer = awake(32)
    torch.nn.init.normal_(transfer.position.weight, std=3)  # that they count beside the content
    content = torch.randn(1, 32, 36, 36)  # two tokens wide are pooled into one
    content[..., 10, 10] = content[..., 20, 30]
    added = transfer(content, STYLE[:1]) - adain(content, STYLE[:1])
    assert apart(added[..., 10, 10], added[..., 20, 30])


@pytest.mark.parametrize("stride", [4, 8])
def test_the_decoder_paints_each_cell_as_large_as_the_stride(stride):
    assert MirroredDecoder(32, stride)(CONTENT).shape == (2, 3, 5 * stride, 7 * stride)
