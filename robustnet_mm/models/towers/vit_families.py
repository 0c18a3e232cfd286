"""The families of timm's plain ViTs: how each enters positions, and what its blocks read.

A family is chosen once, when a tower is made; nothing outside of this file asks which kind of ViT
it has. One that is not in `FAMILIES` is no plain ViT. At the end: what each kind of attention
attends to, for `robustnet_mm.look`.
"""

import timm
import torch
from timm.layers import (
    apply_rot_embed_cat,
    resample_abs_pos_embed,
    resize_rel_pos_bias_table,
)
from timm.layers.attention import Attention, AttentionRope
from timm.models import beit, eva, vision_transformer
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from .positions import lay_out, of_each_image

Grid = tuple[int, int]


class Plain:
    """ViT, DeiT, MAE, DINO, CLIP: a table of positions is added where the tokens enter."""

    takes_sizes = True  # of padded images, and windows

    def prepare(self, model: nn.Module):
        """Let a model of timm take images of any size."""

    def add_positions(self, model: nn.Module, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, h, w, D) -> tokens (N, P + h*w, D), and the table that the blocks read."""
        return model.patch_drop(model._pos_embed(patches)), None

    def enter(self, model, patches: Tensor, grid: Grid) -> tuple[Tensor, Tensor | None]:
        """What timm's embedding made -> tokens (N, P + h*w, D) of block 0, and the blocks' table.

        The embedding gives (N, h, w, D), that of BEiT (N, h*w, D).
        """
        tokens, table = self.add_positions(model, patches)
        return model.norm_pre(tokens), table

    def enter_padded(
        self, model, patches: Tensor, grid: Grid, owns: tuple[Grid, ...]
    ) -> tuple[Tensor, Tensor | None]:
        """As `enter`, for images that have their own grids within the batch's.

        The table is (N, 1, L, C), or (depth, N, heads, L, C) where each block has its own.
        """
        dims, prefix = patches.size(-1), model.num_prefix_tokens
        made = {own: self.add_positions(model, patches.new_zeros(1, *own, dims)) for own in {*owns}}
        added = {
            own: torch.cat([x[:, :prefix], lay_out(x[:, prefix:], own, grid)], dim=1)
            for own, (x, _) in made.items()
        }
        patches = nn.functional.pad(patches.flatten(1, 2), (0, 0, prefix, 0))
        tokens = patches + torch.cat([added[own] for own in owns])
        tables = [of_each_image(lay_out(made[own][1], own, grid), 1) for own in owns
                  if made[own][1] is not None]  # fmt: skip
        table = torch.cat(tables, dim=tables[0].ndim - 4) if tables else None
        return model.norm_pre(tokens), table

    def arguments(self, model, index: int, grid: Grid, table, mask) -> tuple:
        """What block `index` is called with after the tokens."""
        return (mask,)


class Rotary(Plain):
    """EVA, EVA-02, DINOv3 and other ViTs whose attention turns queries and keys."""

    def add_positions(self, model, patches):
        return model._pos_embed(patches)

    def arguments(self, model, index, grid, table, mask):
        return (table[index] if model.rope_mixed and table is not None else table, mask)


class Beit(Plain):
    """BEiT and BEiT v2: a bias of relative positions in every block, or one that they share."""

    takes_sizes = False  # the bias belongs to the whole grid

    def prepare(self, model):
        model.patch_embed.strict_img_size, model.patch_embed.dynamic_img_pad = False, True
        for block in model.blocks:
            block.attn = AnyGridAttention(block.attn)

    def enter(self, model, patches, grid):
        tokens = torch.cat((model.cls_token.expand(patches.size(0), -1, -1), patches), dim=1)
        if model.pos_embed is not None:
            old = model.patch_embed.grid_size
            tokens = tokens + resample_abs_pos_embed(model.pos_embed, grid, old)
        shared = model.rel_pos_bias
        if shared is None or grid == tuple(shared.window_size):
            return model.pos_drop(tokens), shared and shared()
        old = tuple(shared.window_size)
        return model.pos_drop(tokens), resized_bias(shared.relative_position_bias_table, old, grid)

    def arguments(self, model, index, grid, table, mask):
        return ((grid, table),)


class AnyGridAttention(beit.Attention):
    """BEiT's attention, its table of relative positions resized to the grid of the image.

    The grid comes with each call, beside the bias that the blocks share, so that a recomputation
    in the backward pass sees that of its own image.

    Args:
        attention: timm's, whose parameters it takes.
    """

    grid: Grid

    def __init__(self, attention: beit.Attention):
        nn.Module.__init__(self)
        self.__dict__.update(attention.__dict__)

    def forward(self, x: Tensor, shared_rel_pos_bias: tuple) -> Tensor:
        self.grid, shared = shared_rel_pos_bias
        return super().forward(x, shared)

    def _get_rel_pos_bias(self) -> Tensor:
        old = tuple(self.window_size)
        if self.grid == old:
            return super()._get_rel_pos_bias()
        return resized_bias(self.relative_position_bias_table, old, self.grid)[None]


def resized_bias(table: Tensor, old: Grid, grid: Grid) -> Tensor:
    """Table of relative positions on one grid -> (heads, 1 + h*w, 1 + h*w) on another."""
    shape = ((2 * grid[0] - 1) * (2 * grid[1] - 1) + 3, table.size(1))
    table = resize_rel_pos_bias_table(table, grid, shape, old)
    index = beit.gen_relative_position_index(grid, device=table.device)
    return table[index].permute(2, 0, 1).contiguous()  # (1 + h*w, 1 + h*w, heads) -> heads first


# timm's class -> its family
FAMILIES = {
    vision_transformer.VisionTransformer: Plain(),
    VisionTransformerDistilled: Plain(),
    eva.Eva: Rotary(),
    beit.Beit: Beit(),
}
BLOCKS = (vision_transformer.Block, eva.EvaBlock, beit.Block)


def any_size(model_name: str) -> dict:
    """timm's arguments for images of any size; BEiT has none and is prepared instead."""
    entry = timm.models.model_entrypoint(str(model_name).partition(".")[0])
    return (
        {}
        if entry.__module__ == beit.__name__
        else dict(dynamic_img_size=True, dynamic_img_pad=True)
    )


# whose matrices can be recomputed
_KNOWN = (Attention, AttentionRope, eva.EvaAttention, beit.Attention, AnyGridAttention)


def attention_matrix(attn: nn.Module, x: Tensor, *args, **kwargs) -> Tensor:
    """The softmax of a timm attention called as `attn(x, *args, **kwargs)`.

    (N, L, D) -> (N, heads, L, L), rows sum to one.

    Raises:
        ValueError: An attention of another kind.
    """
    return rows_of(*attention_parts(attn, x, *args, **kwargs), slice(None))


def rows_of(q: Tensor, k: Tensor, bias: Tensor | None, rows: slice) -> Tensor:
    """What the tokens in `rows` attend to, of `attention_parts`: (N, heads, R, L)."""
    scores = q[:, :, rows] @ k.transpose(-2, -1)
    if bias is not None and bias.size(-2) > 1:
        bias = bias[..., rows, :]
    if bias is not None and bias.dtype == torch.bool:
        scores = scores.masked_fill(~bias, float("-inf"))
    elif bias is not None:
        scores = scores + bias
    return scores.softmax(-1)


def attention_parts(
    attn: nn.Module, x: Tensor, *args, **kwargs
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What `attention_matrix` is made of: scaled queries, keys (N, heads, L, d), and a bias."""
    if type(attn) not in _KNOWN:
        raise ValueError(
            f"attention of {type(attn).__name__} cannot be recomputed: this works for timm's "
            f"{', '.join(sorted({kind.__name__ for kind in _KNOWN}))}; take another ViT, or "
            "`features`"
        )
    q, k = _queries_and_keys(attn, x)
    bias = kwargs.get("attn_mask")
    if isinstance(attn, beit.Attention):
        bias = _bias_of_beit(attn, *args, **kwargs)
    elif not isinstance(attn, Attention):
        names = ("rope", "attn_mask")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        bias = given.get("attn_mask")
        if given.get("rope") is not None:
            q, k = (_rotate(attn, each, given["rope"]) for each in (q, k))
    elif args:
        bias = args[0]
    if kwargs.get("is_causal"):
        raise ValueError("causal attention cannot be recomputed: take a ViT for images")
    return q * attn.scale, k, bias


def _queries_and_keys(attn: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, L, D) -> twice (N, heads, L, d), after their norms."""
    if attn.qkv is None:
        q, k = attn.q_proj(x), attn.k_proj(x)
    else:
        bias = attn.qkv.bias
        if getattr(attn, "q_bias", None) is not None:
            bias = torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
        q, k, _ = nn.functional.linear(x, attn.qkv.weight, bias).chunk(3, dim=-1)
    heads = (attn.num_heads, getattr(attn, "num_kv_heads", attn.num_heads))
    q, k = (y.unflatten(-1, (n, -1)).transpose(1, 2) for y, n in zip((q, k), heads, strict=True))
    if hasattr(attn, "q_norm"):
        q, k = attn.q_norm(q), attn.k_norm(k)
    return q, k.repeat_interleave(heads[0] // heads[1], dim=1)


def _rotate(attn: nn.Module, x: Tensor, rope: Tensor) -> Tensor:
    prefix, half = attn.num_prefix_tokens, getattr(attn, "rotate_half", False)
    patches = apply_rot_embed_cat(x[:, :, prefix:], rope, half=half)
    return torch.cat([x[:, :, :prefix], patches], dim=2)


def _bias_of_beit(attn: beit.Attention, shared_rel_pos_bias=None) -> Tensor | None:
    """The block's own bias and the one that the blocks share."""
    shared = shared_rel_pos_bias
    if isinstance(attn, AnyGridAttention):
        attn.grid, shared = shared_rel_pos_bias
    own = None if attn.relative_position_bias_table is None else attn._get_rel_pos_bias()
    if own is None or shared is None:
        return shared if own is None else own
    return own + shared
