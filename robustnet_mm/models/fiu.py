"""Feature Interaction Unit: what the two towers tell each other (paper, section 4).

squeeze: detail (N, Cd, H, W) -> (N, h*w, D), added to the patch tokens
expand:  patch tokens (N, h*w, D) -> (N, Cd, h, w), added to the map before a spatial convolution

Both end in a linear layer that starts at zero, so that at step 0 neither tower is disturbed, and
the first gradient of that layer already points somewhere. The paper's own units, with and without
zero gates behind them, are in `paper_fiu`.
"""

from functools import partial

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from .grids import map_to_tokens, pool_to_grid, tokens_to_map
from .paper_fiu import PaperExpand, PaperSqueeze

DIRECTIONS = ("both", "cnn_to_vit", "vit_to_cnn", "none")
FUSES = ("sum", "attention")


class ZeroLinear(nn.Linear):
    """`W x / sqrt(C) + b`, W and b zero at the start: (..., C) -> (..., D).

    A step of Adam moves every weight by the learning rate, and so a sum over C inputs by up to C
    times the rate: at the rate of fresh heads that undoes what both networks know. A mean, which is
    moved by the rate itself, hardly begins in a short fine-tuning. The root of C lies between; it
    is the scale of the NTK parametrisation (Jacot et al. 2018).
    """

    def reset_parameters(self):
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)  # the product is scaled while it is made, without a copy of W
        result = torch.addmm(self.bias, rows, self.weight.t(), alpha=self.in_features**-0.5)
        return result.unflatten(0, x.shape[:-1])


class Squeeze(nn.Module):
    """Map to tokens: (N, Cd, H, W) -> (N, h*w, D), by way of a mean over each token's cell."""

    def __init__(self, in_channels: int, embed_dims: int):
        super().__init__()
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)
        self.linear = ZeroLinear(in_channels, embed_dims)

    def forward(self, detail: Tensor, grid: tuple[int, int]) -> Tensor:
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

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return tokens_to_map(self.linear(self.norm(tokens)), grid)


FORMS = {  # of an exchange: how it squeezes, how it expands
    "zero_linear": (Squeeze, Expand),
    "gated": (partial(PaperSqueeze, gated=True), partial(PaperExpand, gated=True)),
    "ungated": (partial(PaperSqueeze, gated=False), partial(PaperExpand, gated=False)),
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
        form: 'zero_linear'; 'ungated' is the paper's unit, 'gated' the same behind zero gates.
        fuse: 'sum' adds what comes; 'attention' adds the share of it that `AdditiveAttention`
            chooses at each token.
        drop_rate: In training, the chance that an image goes without what is added to one side.
            What is kept is not scaled up: a tower is to do with and without the other.
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
    ):
        super().__init__()
        to_vit, to_cnn = direction != "vit_to_cnn", direction != "cnn_to_vit"
        squeeze, expand = FORMS[form]
        self.squeeze = squeeze(detail_channels, embed_dims) if to_vit else None
        self.expand = expand(embed_dims, guide_channels) if to_cnn else None
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
        added = self.squeeze(detail, grid).to(tokens.dtype)
        num_prefix = tokens.size(1) - added.size(1)
        if self.squeeze_share is not None:
            added = added * self.squeeze_share(tokens[:, num_prefix:], added)
        return tokens + F.pad(self.drop(added), (0, 0, num_prefix, 0))

    def guide(self, tokens: Tensor, detail: Tensor, grid: tuple[int, int]) -> Tensor | None:
        """What the next CNN block is told: (N, P + h*w, D) -> (N, Cg, h, w).

        `detail` (N, Cd, H, W), the last that the CNN made, stands for the CNN in the choice of
        fuse='attention'.
        """
        if self.expand is None:
            return None
        guide = self.expand(tokens, grid)
        if self.expand_share is not None:
            own = map_to_tokens(pool_to_grid(detail, grid))
            share = self.expand_share(own, map_to_tokens(guide))
            guide = guide * tokens_to_map(share, grid)
        return self.drop(guide)
