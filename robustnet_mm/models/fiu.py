"""Feature Interaction Unit: what the two towers tell each other (paper, section 4).

squeeze: detail (N, Cd, H, W) -> (N, h*w, D), added to the patch tokens
expand:  patch tokens (N, h*w, D) -> (N, Cd, h, w), added to the map before a spatial convolution

Both end in a linear layer that starts at zero, so that at step 0 neither tower is disturbed, and
the first gradient of that layer already points somewhere. The paper's own units, with and without
zero gates behind them, are in `paper_fiu`, and those by way of visual tokens in `token_fiu`.
"""

import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from .grids import map_to_tokens, pool_to_grid, tokens_to_map
from .paper_fiu import PaperExpand, PaperSqueeze
from .token_fiu import TokenExpand, TokenSqueeze
from .zero_linear import ZeroLinear

DIRECTIONS = ("both", "cnn_to_vit", "vit_to_cnn", "none")
FUSES = ("sum", "attention")


class Squeeze(nn.Module):
    """Map to tokens: (N, Cd, H, W) -> (N, h*w, D), by way of a mean over each token's cell."""

    def __init__(self, in_channels: int, embed_dims: int):
        super().__init__()
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)
        self.linear = ZeroLinear(in_channels, embed_dims)

    def forward(self, detail: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return self.linear(self.norm(map_to_tokens(pool_to_grid(detail, grid))))


class Expand(nn.Module):
    """Tokens to map: (N, P + h*w, D) -> (N, Cd, h, w); prefix tokens are left out.

    The nearest resize to the map happens where the result is added (`grids.add_guide`):
    everything else runs at token resolution.
    """

    def __init__(self, embed_dims: int, out_channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.linear = ZeroLinear(embed_dims, out_channels)

    def forward(self, tokens: Tensor, detail: Tensor, grid: tuple[int, int]) -> Tensor:
        return tokens_to_map(self.linear(self.norm(tokens)), grid)


# form of an exchange -> its two sides, made from channels of detail and guide and the token width;
# the squeeze is called `(detail, tokens, grid)`, the expand `(tokens, detail, grid)`
FORMS = {
    "zero_linear": (lambda cd, cg, d: Squeeze(cd, d), lambda cd, cg, d: Expand(d, cg)),
    "gated": (
        lambda cd, cg, d: PaperSqueeze(cd, d, gated=True),
        lambda cd, cg, d: PaperExpand(d, cg, gated=True),
    ),
    "ungated": (
        lambda cd, cg, d: PaperSqueeze(cd, d, gated=False),
        lambda cd, cg, d: PaperExpand(d, cg, gated=False),
    ),
    "tokens": (lambda cd, cg, d: TokenSqueeze(cd, d), lambda cd, cg, d: TokenExpand(d, cd, cg)),
}


class AdditiveAttention(nn.Module):
    """The paper's soft choice between two candidates: the share of the added one, at each token.

    `softmax(w . tanh(A own), w . tanh(B added))`. Scores come from the two candidates at a token,
    never from a flattened map, so that any image shape will do.

    Args:
        own_channels: Width of what stands there.
        added_channels: Width of what comes from the other tower.
        hidden: Width of the comparison.
    """

    def __init__(self, own_channels: int, added_channels: int, hidden: int = 64):
        super().__init__()
        self.own = nn.Linear(own_channels, hidden)
        self.added = nn.Linear(added_channels, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, own: Tensor, added: Tensor) -> Tensor:
        """(N, L, C1), (N, L, C2) -> (N, L, 1), between 0 and 1."""
        scores = self.score(self.own(own).tanh()), self.score(self.added(added).tanh())
        return (scores[1] - scores[0]).sigmoid()  # the softmax of two


class FIU(nn.Module):
    """One exchange: `squeeze` into a transformer block, `expand` into the next CNN block.

    Args:
        detail_channels: Channels of the map that is squeezed.
        guide_channels: Channels of the map to which the expanded tokens are added.
        embed_dims: Token width D.
        direction: 'both', 'cnn_to_vit' (squeeze only) or 'vit_to_cnn' (expand only).
        form: 'zero_linear'; 'ungated' is the paper's unit, 'gated' the same behind zero gates;
            'tokens' goes by way of visual tokens: `token_fiu`.
        fuse: 'sum' adds what comes; 'attention' adds the share of it that `AdditiveAttention`
            chooses at each token.
        drop_rate: In training, the chance that an image goes without what is added to one side.
            What is kept is not scaled up: a tower is to do with and without the other.
        detach: Stop gradients at the exchange: a tower reads the other's features, and no gradient
            flows back into the other tower.
    """

    def __init__(
        self,
        detail_channels: int,
        guide_channels: int,
        embed_dims: int,
        direction: str = "both",
        form: str = "zero_linear",
        fuse: str = "sum",
        drop_rate: float = 0.0,
        detach: bool = False,
    ):
        super().__init__()
        self.detach = detach
        to_vit, to_cnn = direction != "vit_to_cnn", direction != "cnn_to_vit"
        (squeeze, expand), widths = FORMS[form], (detail_channels, guide_channels, embed_dims)
        self.squeeze = squeeze(*widths) if to_vit else None
        self.expand = expand(*widths) if to_cnn else None
        self.drop = DropPath(drop_rate, scale_by_keep=False)
        self.squeeze_share = self.expand_share = None
        if fuse == "attention":
            if to_vit:
                self.squeeze_share = AdditiveAttention(embed_dims, embed_dims)
            if to_cnn:
                self.expand_share = AdditiveAttention(detail_channels, guide_channels)

    def into_tokens(self, tokens: Tensor, detail: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add the squeezed map to the patch tokens; prefix tokens pass as they are.

        (N, P + h*w, D), (N, Cd, H, W) -> (N, P + h*w, D)
        """
        if self.squeeze is None:
            return tokens
        read = detail.detach() if self.detach else detail
        added = self.squeeze(read, tokens, grid).to(tokens.dtype)
        num_prefix = tokens.size(1) - added.size(1)
        if self.squeeze_share is not None:
            added = added * self.squeeze_share(tokens[:, num_prefix:], added)
        return tokens + F.pad(self.drop(added), (0, 0, num_prefix, 0))

    def guide(self, tokens: Tensor, detail: Tensor, grid: tuple[int, int]) -> Tensor | None:
        """What the next CNN block is told: (N, P + h*w, D) -> (N, Cg, h, w), or (N, Cg, H, W).

        `detail` (N, Cd, H, W), the last that the CNN made, stands for the CNN in the choice of
        fuse='attention'.
        """
        if self.expand is None:
            return None
        guide = self.expand(tokens.detach() if self.detach else tokens, detail, grid)
        if self.expand_share is not None:
            size = tuple(guide.shape[-2:])
            own = map_to_tokens(pool_to_grid(detail, size))
            share = self.expand_share(own, map_to_tokens(guide))
            guide = guide * tokens_to_map(share, size)
        return self.drop(guide)
