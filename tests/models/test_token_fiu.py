"""An exchange by tokens: what each side reads, written out."""

import torch
import torch.nn.functional as F
from helpers import close

from robustnet_mm.models.token_fiu import NUM_TOKENS, TokenExpand, TokenSqueeze

DETAIL, TOKENS, GRID = torch.randn(2, 16, 8, 12), torch.randn(2, 3 + 6, 24), (2, 3)
PIXELS, PATCHES = DETAIL.flatten(2).transpose(1, 2), TOKENS[:, 3:]


def random_(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def written_out(reading, source, readers):
    """Tokens are means over the source, weighted by a softmax over its places; readers take means
    over the tokens."""
    source = reading.norm(source)
    tokens = F.softmax(reading.filters(source), 1).transpose(1, 2) @ source
    query, key = reading.query(reading.reader_norm(readers)), reading.key(tokens)
    return F.softmax(query @ key.transpose(1, 2) / key.size(2) ** 0.5, 2) @ tokens


def test_patches_read_tokens_of_the_map():
    squeeze = random_(TokenSqueeze(16, 24))
    read = written_out(squeeze.reading, PIXELS, PATCHES)
    close(squeeze(DETAIL, TOKENS, GRID), squeeze.linear(read), 5)
    assert squeeze.reading.filters.out_features == NUM_TOKENS


def test_pixels_read_tokens_of_the_patches():
    expand = random_(TokenExpand(24, 16, 10))
    read = written_out(expand.reading, PATCHES, PIXELS)
    expected = expand.linear(read).transpose(1, 2).unflatten(2, (8, 12))
    close(expand(TOKENS, DETAIL, GRID), expected, 5)


def test_where_a_reader_stands_matters_and_where_the_source_stands_does_not():
    squeeze = random_(TokenSqueeze(16, 24))
    given = squeeze(DETAIL, TOKENS, GRID)
    turned = squeeze(DETAIL.flip(2, 3), TOKENS, GRID)
    close(turned, given, 5)
    other = squeeze(DETAIL, torch.cat([TOKENS[:, :3], PATCHES.flip(1)], 1), GRID)
    close(other, given.flip(1), 5)
    assert not torch.allclose(given[:, 0], given[:, 5], rtol=0.01)
