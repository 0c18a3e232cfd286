"""Tokenizers, transformer and projector against their equations (Wu et al. 2021)."""

import pytest
import torch
import torch.nn.functional as F
from helpers import close
from torch import nn

from robustnet_mm.visual_tokens.modules import (
    TOKENIZERS,
    ClusterTokenizer,
    FilterTokenizer,
    PoolingTokenizer,
    Projector,
    RecurrentTokenizer,
    TokenTransformer,
    VTModule,
)

FEAT, TOKENS = torch.randn(2, 24, 5, 7), torch.randn(2, 4, 32)
PIXELS = FEAT.flatten(2).transpose(1, 2)


def test_a_filter_tokenizer_is_equation_1():
    made = FilterTokenizer(24, 4, 32)
    attention = F.softmax(PIXELS @ made.filters.weight.T, 1)
    expected = attention.transpose(1, 2) @ PIXELS @ made.value.weight.T
    close(made(FEAT).tokens, expected, 3)


def test_a_recurrent_tokenizer_looks_for_what_the_tokens_before_say():
    made = RecurrentTokenizer(24, 4, 32)
    filters = made.norm(TOKENS) @ made.filters.weight.T
    attention = F.softmax(PIXELS @ filters.transpose(1, 2) / 24**0.5, 1)
    close(made(FEAT, TOKENS).tokens, attention.transpose(1, 2) @ PIXELS @ made.value.weight.T, 4)
    assert not torch.equal(made(FEAT, TOKENS).tokens, made(FEAT, -TOKENS).tokens)


def test_clusters_are_those_of_k_means():
    """Two clouds of unequal size; both centres start in the first, whose pixels come first."""
    first, second = torch.tensor([9.0, 0.0]), torch.tensor([0.0, 9.0])
    clouds = torch.cat([first + 0.1 * torch.randn(28, 2), second + 0.1 * torch.randn(4, 2)])
    pixels = clouds[[*range(14), *range(28, 32), *range(14, 28)]]  # the last is of the first cloud
    found = ClusterTokenizer(2, 2, 2)._centres(pixels[None])
    means = torch.stack([clouds[:28].mean(0), clouds[28:].mean(0)])
    order = found[0, :, 0].argsort(descending=True)
    close(found[0, order], means, ClusterTokenizer.steps)


def test_a_cluster_tokenizer_weighs_by_likeness_to_the_centres():
    made = ClusterTokenizer(24, 4, 32)
    attention = F.softmax(PIXELS @ made._centres(PIXELS).transpose(1, 2) / 24**0.5, 1)
    close(made(FEAT).tokens, attention.transpose(1, 2) @ PIXELS @ made.value.weight.T, 4)


def test_pooling_takes_the_mean_of_each_place():
    feat = torch.arange(16.0).view(1, 1, 4, 4)
    found = PoolingTokenizer(1, 4, 1)(feat)
    close(found.tokens, torch.tensor([[[2.5], [4.5], [10.5], [12.5]]]))
    assert found.attention is None


@pytest.mark.parametrize("name", [name for name in TOKENIZERS if name != "pooling"])
def test_a_tokens_weights_of_the_pixels_sum_to_one(name):
    found = TOKENIZERS[name](24, 4, 32)(FEAT, TOKENS)
    assert found.tokens.shape == (2, 4, 32) and found.attention.shape == (2, 4, 5, 7)
    close(found.attention.sum((2, 3)), torch.ones(2, 4))


def test_a_transformer_is_equations_3_and_4():
    made = TokenTransformer(32, num_heads=2)
    normed = made.norm1(TOKENS)
    query, key = made.query(normed), made.key(normed)
    heard = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        weights = F.softmax(query[..., part] @ key[..., part].transpose(1, 2) / 2, -1)
        close(weights.sum(-1), torch.ones(2, 4))
        heard.append(weights @ normed[..., 16 * head : 16 * head + 16])
    tokens = TOKENS + torch.cat(heard, -1)
    close(made(TOKENS), tokens + made.fc2(F.relu(made.fc1(made.norm2(tokens)))), made)


def test_a_projector_is_equation_5():
    made = Projector(24, 32, groups=4)
    query = made.query(FEAT).flatten(2).transpose(1, 2)
    tokens = made.norm(TOKENS)
    weights = F.softmax(query @ made.key(tokens).transpose(1, 2) / 32**0.5, -1)  # over the tokens
    close(weights.sum(-1), torch.ones(2, 35))
    read = (weights @ made.value(tokens)).transpose(1, 2).unflatten(2, (5, 7))
    close(made(FEAT, TOKENS), FEAT + read, made)


def test_where_the_widths_are_equal_nothing_stands_between_map_and_tokens():
    assert isinstance(FilterTokenizer(32, 4, 32).value, nn.Identity)
    assert isinstance(Projector(32, 32).value, nn.Identity)


@pytest.mark.parametrize("size", [(1, 4), (3, 3), (17, 2)])
def test_any_map_with_a_pixel_for_each_token_will_do(size):
    feat, found = VTModule(24, 32, 4, "filter", num_heads=2)(torch.randn(1, 24, *size))
    assert feat.shape == (1, 24, *size) and found.tokens.shape == (1, 4, 32)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: FilterTokenizer(24, 4, 32)(FEAT[..., :1, :3]), "at most the pixels .* 1 x 3"),
        (lambda: PoolingTokenizer(24, 4, 32)(FEAT[..., :1, :5]), "got 1 x 5"),
        (lambda: PoolingTokenizer(24, 6, 32), "must be a square such as 9 or 16, got 6"),
        (lambda: TokenTransformer(36, 2), "a multiple of 4 . num_heads = 8, got 36"),
        (lambda: Projector(24, 32, groups=5), "must divide 24 .* and 32 .* got 5"),
        (lambda: FilterTokenizer(24, 0, 32), "num_tokens must be .* got 0"),
        (lambda: RecurrentTokenizer(24, 4, 32)(FEAT), "needs the tokens of the module before"),
        (lambda: Projector(8, 8, 0), "key_channels must be .* got 0"),
        (lambda: VTModule(24, 32, 4, "nope"), "tokenizer must be one of filter, .* got 'nope'"),
    ],
)
def test_wrong_sizes_are_named_with_what_is_allowed(make, message):
    with pytest.raises(ValueError, match=message):
        make()
