"""ViTTower: a plain ViT of timm as a tower, at any image size."""

from math import ceil
from typing import NamedTuple

import timm
import torch
from timm.layers import PatchEmbed
from timm.models import beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from robustnet_mm.registry import MODELS

from .beit_bias import AnyGridAttention, enter_beit
from .towers import Tower, create_timm_model, norm_of
from .windows import Windows

# what timm does after the last block, which belongs to `TimmViTClassifier`
HEAD_PARTS = ("norm", "attn_pool", "fc_norm", "head_drop", "head", "head_dist")
# of a file: also what networks keep for their pretraining
_HEAD_KEYS = rf"({'|'.join(HEAD_PARTS)}|decoder_\w+|mask_token|lm_head)(\..*)?"
_MOST_TABLES = 8  # grids whose tables are kept; a table has the size of an image's tokens
_TAKEN = (VisionTransformer, VisionTransformerDistilled, Eva, beit.Beit)
_WORKING = (
    "choose a ViT, DeiT, MAE, DINO, DINOv2, DINOv3, EVA-02, CLIP, SigLIP or BEiT of timm, such as "
    "'vit_base_patch14_dinov2' or 'deit_tiny_patch16_224'"
)


class Positions(NamedTuple):
    """What the blocks need to know beside the tokens, made once for an image."""

    grid: tuple[int, int]
    table: Tensor | None = None  # Eva's rotary table, or the bias that BEiT's blocks share
    windows: Windows | None = None
    window_table: Tensor | None = None  # the rotary table, cut: (..., windows, 1, s*s, channels)
    key_mask: Tensor | None = None  # (windows, 1, 1, P + s*s) where windows are padded


@MODELS.register_module()
class ViTTower(Tower):
    """A plain ViT of timm by name, at any image size; its final norm and head belong to heads.

    Takes ViT, DeiT, DeiT III, AugReg, MAE, DINO, DINOv2 (with and without registers), DINOv3,
    EVA and EVA-02, the image towers of CLIP and SigLIP, BEiT and BEiT v2. Images are padded with
    zeros to whole patches; position tables are resized to the grid, rotary tables are made for it.

    Args:
        model_name: timm's name, with or without a tag: 'vit_base_patch14_dinov2.lvd142m'.
        model_args: Overrides of that model's own arguments, e.g. `dict(depth=4)`.
        drop_path_rate: Stochastic depth of the last block, growing from 0 at the first.
        window_size: Side in patches of the windows within which the blocks attend; None lets all
            blocks attend to the whole image.
        global_blocks: Blocks that attend to the whole image all the same, e.g. (2, 5, 8, 11).
        kwargs: See `Tower`; a stage is a block.

    Attributes:
        embed_dims: Token width D.
        patch_size: (height, width) of a patch in pixels.
        num_prefix_tokens: Class and register tokens, which stand before the patch tokens.

    Raises:
        ValueError: Unknown name, or a model of timm that is no plain ViT.
    """

    weights_kind = "vit"
    layouts = ("ViT",)

    def __init__(
        self,
        model_name: str,
        model_args: dict | None = None,
        drop_path_rate: float = 0.0,
        window_size: int | None = None,
        global_blocks: tuple[int, ...] = (),
        **kwargs,
    ):
        args = dict(num_classes=0, drop_path_rate=drop_path_rate)
        model = create_vit(model_name, {**args, **(model_args or {})})
        given = kwargs.pop("input_norm", None)
        super().__init__(input_norm=given or norm_of(model), **kwargs)
        self.input_norm_given = given is not None
        for name in HEAD_PARTS:
            if hasattr(model, name):
                setattr(model, name, nn.Identity())
        self.model = model
        self.model_name = model_name
        self.embed_dims = model.embed_dim
        self.patch_size = model.patch_embed.patch_size
        self.num_prefix_tokens = model.num_prefix_tokens
        self.window_size = window_size
        self.global_blocks = _check_windows(model, window_size, global_blocks)
        self._tables = {}
        self.published_keys = [(_HEAD_KEYS, None), (r".*", r"model.\g<0>")]
        self._freeze()

    @property
    def blocks(self) -> nn.Module:
        return self.model.blocks

    def truncate(self, num_blocks: int):
        """Keep the first `num_blocks` blocks, where nothing reads what the others make."""
        total = len(self.blocks)
        self.model.blocks = self.model.blocks[:num_blocks]
        self.frozen_stages = min(self.frozen_stages, num_blocks)
        self.dropped_keys = [f"model.blocks.{index}." for index in range(num_blocks, total)]

    def _stages(self):
        after = ("blocks", *HEAD_PARTS)
        stem = [part for name, part in self.model.named_children() if name not in after]
        tables = list(self.model.parameters(recurse=False))
        return [stem + tables, *([block] for block in self.blocks)]

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int], Positions]:
        """Patch embedding: (N, 3, H, W) -> (N, P + h*w, D), the grid (h, w), and the positions.

        Raises:
            ValueError: The image is smaller than one patch.
        """
        (height, width), (p, q) = images.shape[-2:], self.patch_size
        if height < p or width < q:
            raise ValueError(
                f"an image must be at least one patch of {p} x {q} pixels, got {height} x {width}: "
                "resize it, or choose a ViT with smaller patches"
            )
        grid = (ceil(height / p), ceil(width / q))
        patches = self.model.patch_embed(self.normalize(images))
        fixed = not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        if fixed and not isinstance(self.model, beit.Beit):
            added, positions = self._cached_tables(patches, grid)
            padding = (0, 0, self.num_prefix_tokens, 0)
            tokens = nn.functional.pad(patches.flatten(1, -2), padding) + added
        else:
            tokens, positions = self._enter(patches, grid)
        return self.model.norm_pre(tokens), grid, positions

    def _enter(self, patches: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Positions]:
        """Prefix tokens and positions, as timm adds them."""
        model, table = self.model, None
        if isinstance(model, beit.Beit):
            tokens, table = enter_beit(model, patches, grid)
        elif isinstance(model, Eva):
            tokens, table = model._pos_embed(patches)
        else:
            tokens = model.patch_drop(model._pos_embed(patches))
        return tokens, self._positions(grid, table, tokens.device)

    def _cached_tables(self, patches: Tensor, grid) -> tuple[Tensor, Positions]:
        """What is added to the patches of a grid: made once, as long as the weights stay."""
        rope = getattr(self.model, "rope", None)
        weights = [*self.model.parameters(recurse=False), *(rope.parameters() if rope else ())]
        versions = [(id(w), 0 if w.is_inference() else w._version) for w in weights]
        inference = torch.is_inference_mode_enabled()
        key = (grid, patches.dtype, patches.device, inference, *versions)
        if key not in self._tables:
            while len(self._tables) >= _MOST_TABLES:
                self._tables.pop(next(iter(self._tables)))
            self._tables[key] = self._enter(torch.zeros_like(patches[:1]), grid)
        return self._tables[key]

    def train(self, mode: bool = True):
        self._tables = {}  # what replaces weights through `.data` leaves no trace in their versions
        return super().train(mode)

    def _positions(self, grid, table: Tensor | None, device: torch.device) -> Positions:
        if self.window_size is None:
            return Positions(grid, table)
        windows = Windows(grid, self.window_size, self.num_prefix_tokens)
        cut = None
        if table is not None:
            # (h*w, C), or (blocks, heads, h*w, C) -> (..., windows, heads, s*s, C)
            heads = table.flatten(0, -3) if table.ndim > 2 else table[None]
            cut = windows.cut(heads).unflatten(0, table.shape[:-2] or (1,)).transpose(-4, -3)
        return Positions(grid, table, windows, cut, windows.key_mask(device))

    def run(self, index: int, tokens: Tensor, positions: Positions) -> Tensor:
        """Run block `index`, on windows or on the whole: (N, P + h*w, D) -> the same shape."""
        if isinstance(self.model, beit.Beit):
            return super().run(index, tokens, (positions.grid, positions.table))
        eva = isinstance(self.model, Eva)
        if positions.windows is None or index in self.global_blocks:
            args = (_of_block(self.model, positions.table, index),) if eva else ()
            return super().run(index, tokens, *args)
        windowed = positions.windows.partition(tokens)
        repeats = tokens.size(0)  # images stand before windows in the batch
        mask = None if positions.key_mask is None else positions.key_mask.repeat(repeats, 1, 1, 1)
        args = (mask,)
        if eva:
            table = _of_block(self.model, positions.window_table, index)
            args = (None if table is None else table.repeat(repeats, 1, 1, 1), mask)
        return positions.windows.merge(super().run(index, windowed, *args))

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The ViT alone: (N, 3, H, W) -> tokens (N, P + h*w, D) before the final norm, grid."""
        tokens, grid, positions = self.embed(images)
        for index in range(len(self.blocks)):
            tokens = self.run(index, tokens, positions)
        return tokens, grid


def _of_block(model: nn.Module, table: Tensor | None, index: int) -> Tensor | None:
    return table[index] if model.rope_mixed and table is not None else table


def _check_windows(model: nn.Module, size: int | None, global_blocks) -> tuple[int, ...]:
    """The global blocks, if windows of this size can be cut for this model."""
    if size is None:
        if global_blocks:
            raise ValueError(f"global_blocks={global_blocks} needs window_size, got None")
        return ()
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"window_size must be a number of patches from 1 on, got {size!r}")
    if isinstance(model, beit.Beit):
        raise ValueError(
            "window_size is not for BEiT, whose bias belongs to the whole grid: leave it out, or "
            "take a ViT with a table of positions or rotary positions"
        )
    if wrong := [b for b in global_blocks if not 0 <= b < len(model.blocks)]:
        raise ValueError(f"global_blocks must be in 0..{len(model.blocks) - 1}, got {wrong}")
    return tuple(global_blocks)


def create_vit(model_name: str, args: dict) -> nn.Module:
    """A plain ViT of timm that takes images of any size.

    Raises:
        ValueError: Unknown name, or another kind of network.
    """
    arch = str(model_name).partition(".")[0]
    known = timm.is_model(arch)
    if not (known and timm.models.model_entrypoint(arch).__module__ == beit.__name__):
        args = {"dynamic_img_size": True, "dynamic_img_pad": True, **args}
    try:
        model = create_timm_model(model_name, "vit_*", **args)
    except ValueError as error:
        if not known or "no weights with the tag" in str(error):
            raise
        raise ValueError(f"ViTTower takes plain ViTs of timm only ({error}): {_WORKING}") from error
    kind, embed = type(model), type(getattr(model, "patch_embed", None))
    if kind not in _TAKEN or embed is not PatchEmbed:  # hybrids embed by a CNN
        raise ValueError(
            f"ViTTower takes timm's plain ViTs only, {model_name!r} is a {kind.__name__} with "
            f"{embed.__name__}: {_WORKING}"
        )
    if kind is beit.Beit:
        model.patch_embed.strict_img_size, model.patch_embed.dynamic_img_pad = False, True
        model.norm_pre = nn.Identity()  # which every other ViT of timm has
        for block in model.blocks:
            block.attn.__class__ = AnyGridAttention  # the same weights, any grid
    return model
