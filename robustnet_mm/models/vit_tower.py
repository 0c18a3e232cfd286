"""ViTTower: a plain ViT of timm as a tower, at any image size."""

from collections.abc import Sequence
from math import ceil

import timm
import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed
from timm.models import beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from robustnet_mm.arguments import check_whole, check_wholes
from robustnet_mm.registry import MODELS

from .beit_bias import AnyGridAttention, enter_beit
from .positions import Positions, cut_positions, lay_out, of_each_image, real_patches
from .towers import Tower, checked_args, create_timm_model, norm_of
from .windows import Windows

# what timm does after the last block, which belongs to `TimmViTClassifier`
HEAD_PARTS = ("norm", "attn_pool", "fc_norm", "head_drop", "head", "head_dist")
# of a file: also what networks keep for their pretraining
_HEAD_KEYS = rf"({'|'.join(HEAD_PARTS)}|decoder_\w+|mask_token|lm_head)(\..*)?"
_TAKEN = (VisionTransformer, VisionTransformerDistilled, Eva, beit.Beit)
_WORKING = (
    "choose a ViT, DeiT, MAE, DINO, DINOv2, DINOv3, EVA-02, CLIP, SigLIP or BEiT of timm, such as "
    "'vit_base_patch14_dinov2' or 'deit_tiny_patch16_224'"
)


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
        window_size: Largest side in patches of the windows within which the blocks attend; None
            lets all blocks attend to the whole image.
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
        args = checked_args(model_args, num_classes=0, drop_path_rate=drop_path_rate)
        model = create_vit(model_name, args)
        given = kwargs.pop("input_norm", None)
        super().__init__(input_norm=norm_of(model) if given is None else given, **kwargs)
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

    def embed(
        self, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None
    ) -> tuple[Tensor, tuple[int, int], Positions]:
        """Patch embedding: (N, 3, H, W) -> (N, P + h*w, D), the grid (h, w), and the positions.

        Args:
            images: One batch, whose images may be padded at the bottom and at the right.
            sizes: (height, width) of each image before that padding. Its tokens are then those of
                the image alone: positions on its own grid, and no attention to the padding.
                Windows are cut from the batch's grid, so where they lie depends on the batch.

        Raises:
            ValueError: The image is smaller than one patch, or `sizes` do not fit.
        """
        images = self.normalize(images)
        owns = _own_grids(self.model, images, sizes, self.patch_size)
        (height, width), (p, q) = images.shape[-2:], self.patch_size
        if height < p or width < q:
            raise ValueError(
                f"an image must be at least one patch of {p} x {q} pixels, got {height} x {width}: "
                "resize it, or choose a ViT with smaller patches"
            )
        grid = (ceil(height / p), ceil(width / q))
        patches = self.model.patch_embed(
            images if owns is None else _without_padding(images, sizes)
        )
        if isinstance(self.model, beit.Beit):
            tokens, table = enter_beit(self.model, patches, grid)
            return tokens, grid, Positions(grid, table)
        if owns is None:
            tokens, table = self._enter(patches)
            positions = self._positions(patches, grid, table)
        else:
            added, positions = self._tables_of(patches, grid, owns)
            tokens = F.pad(patches.flatten(1, 2), (0, 0, self.num_prefix_tokens, 0)) + added
        return self.model.norm_pre(tokens), grid, positions

    def _enter(self, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """Prefix tokens and positions as timm adds them, and the table of rotary positions."""
        if isinstance(self.model, Eva):
            return self.model._pos_embed(patches)
        return self.model.patch_drop(self.model._pos_embed(patches)), None

    def _tables_of(self, patches: Tensor, grid, owns) -> tuple[Tensor, Positions]:
        """What timm adds to the patches of each image (N, P + h*w, D), and the positions."""
        made = {own: self._enter(patches.new_zeros(1, *own, self.embed_dims)) for own in set(owns)}
        prefix = self.num_prefix_tokens
        added = {
            own: torch.cat([x[:, :prefix], lay_out(x[:, prefix:], own, grid)], dim=1)
            for own, (x, _) in made.items()
        }
        table = None
        if isinstance(self.model, Eva) and self.model.rope is not None:
            each = [of_each_image(lay_out(made[own][1], own, grid), 1) for own in owns]
            table = torch.cat(each, dim=1 if self.model.rope_mixed else 0)
        real = real_patches(owns, grid, patches.device)
        return torch.cat([added[own] for own in owns]), self._positions(patches, grid, table, real)

    def _positions(self, patches: Tensor, grid, table: Tensor | None, real=None) -> Positions:
        prefix, num_images = self.num_prefix_tokens, len(patches)
        mask = None if real is None else F.pad(real[:, None, None], (prefix, 0), value=True)
        if self.window_size is None:
            return Positions(grid, table, mask)
        each = of_each_image(table, num_images) if real is None and table is not None else table
        windows = Windows(grid, self.window_size, prefix)
        cut = cut_positions(windows, each, real, num_images, patches.device)
        return Positions(grid, table, mask, **cut)

    def run(self, index: int, tokens: Tensor, positions: Positions) -> Tensor:
        """Run block `index`, on windows or on the whole: (N, P + h*w, D) -> the same shape."""
        if isinstance(self.model, beit.Beit):
            return super().run(index, tokens, (positions.grid, positions.table))
        windows, table, mask = positions.windows, positions.table, positions.mask
        inside = windows is not None and index not in self.global_blocks
        if inside:
            tokens, table, mask = (
                windows.partition(tokens),
                positions.window_table,
                positions.window_mask,
            )
        args = (mask,)
        if isinstance(self.model, Eva):
            args = (table[index] if self.model.rope_mixed and table is not None else table, mask)
        tokens = super().run(index, tokens, *args)
        return windows.merge(tokens, positions.window_share) if inside else tokens

    def forward(self, images: Tensor, sizes=None) -> tuple[Tensor, tuple[int, int]]:
        """The ViT alone: (N, 3, H, W) -> tokens (N, P + h*w, D) before the final norm, grid."""
        tokens, grid, positions = self.embed(images, sizes)
        for index in range(len(self.blocks)):
            tokens = self.run(index, tokens, positions)
        return tokens, grid


def _own_grids(model, images: Tensor, sizes, patch) -> tuple[tuple[int, int], ...] | None:
    """The grid of each image without its padding; None where nothing is padded."""
    whole = tuple(images.shape[-2:])
    if sizes is None:
        return None
    if len(sizes) != len(images) or any(h > whole[0] or w > whole[1] for h, w in sizes):
        raise ValueError(
            f"sizes must be the (height, width) of each of {len(images)} images within "
            f"{whole[0]} x {whole[1]}, got {sizes}"
        )
    if all(tuple(size) == whole for size in sizes):
        return None
    if isinstance(model, beit.Beit):
        raise ValueError(
            "sizes of padded images are not for BEiT, whose bias belongs to the whole grid: give "
            "none, or take a ViT with a table of positions or rotary positions"
        )
    return tuple((ceil(height / patch[0]), ceil(width / patch[1])) for height, width in sizes)


def _without_padding(images: Tensor, sizes) -> Tensor:
    """Zeros where the padding is, also after a tower's own normalisation."""
    rows, columns = (torch.arange(n, device=images.device) for n in images.shape[-2:])
    inside = [(rows[:, None] < height) & (columns < width) for height, width in sizes]
    return images * torch.stack(inside)[:, None]


def _check_windows(model: nn.Module, size: int | None, global_blocks) -> tuple[int, ...]:
    """The global blocks, if windows of this size can be cut for this model."""
    blocks = check_wholes("global_blocks", global_blocks, 0, len(model.blocks) - 1)
    if size is None:
        if blocks:
            raise ValueError(f"global_blocks={blocks} needs window_size, got None")
        return ()
    check_whole("window_size", size, 1, also=": it is the largest side of a window in patches")
    if isinstance(model, beit.Beit):
        raise ValueError(
            "window_size is not for BEiT, whose bias belongs to the whole grid: leave it out, or "
            "take a ViT with a table of positions or rotary positions"
        )
    return blocks


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
        for block in model.blocks:
            block.attn.__class__ = AnyGridAttention  # the same weights, any grid
    return model
