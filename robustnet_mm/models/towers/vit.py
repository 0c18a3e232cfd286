"""ViTTower: a plain ViT of timm as a tower, at any image size."""

from collections.abc import Sequence
from dataclasses import replace

import timm
import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed
from torch import Tensor, nn

from robustnet_mm.arguments import check_whole, check_wholes
from robustnet_mm.registry import MODELS
from robustnet_mm.weights import WeightsSpec

from ..sized_images import own_sizes
from .base import TransformerTower
from .positions import Positions, cut_positions, of_each_image, real_patches
from .timm_models import checked_args, create_timm_model, norm_of
from .vit_families import FAMILIES, any_size
from .windows import Windows, count

# what timm does after the last block, which belongs to `TimmViTClassifier`
HEAD_PARTS = ("norm", "attn_pool", "fc_norm", "head_drop", "head", "head_dist")
# of a file: also what networks keep for their pretraining
_HEAD_KEYS = rf"({'|'.join(HEAD_PARTS)}|decoder_\w+|mask_token|lm_head)(\..*)?"
_WORKING = (
    "choose a ViT, DeiT, MAE, DINO, DINOv2, DINOv3, EVA-02, CLIP, SigLIP or BEiT of timm, such as "
    "'vit_base_patch14_dinov2' or 'deit_tiny_patch16_224'"
)


@MODELS.register_module()
class ViTTower(TransformerTower):
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
        has_class_token: Whether the first of them is a class token.

    Raises:
        ValueError: Unknown name, or a model of timm that is no plain ViT.
    """

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
        given, own_norm = kwargs.pop("input_norm", None), norm_of(model)
        super().__init__(input_norm=own_norm if given is None else given, **kwargs)
        for name in HEAD_PARTS:
            if hasattr(model, name):
                setattr(model, name, nn.Identity())
        self.model, self.family = model, FAMILIES[type(model)]
        self.embed_dims = model.embed_dim
        self.patch_size = model.patch_embed.patch_size
        self.num_prefix_tokens = model.num_prefix_tokens
        self.has_class_token = getattr(model, "cls_token", None) is not None
        self.window_size = window_size
        self.global_blocks = _check_windows(self, window_size, global_blocks)
        self.weights_spec = WeightsSpec(
            "vit",
            ("ViT",),
            ((_HEAD_KEYS, None), (r".*", r"model.\g<0>")),
            model_name=model_name,
            assumed_mean=own_norm["mean"] if given is None else None,
        )
        self._freeze()

    @property
    def blocks(self) -> nn.Module:
        return self.model.blocks

    def truncate(self, num_blocks: int):
        """Keep the first `num_blocks` blocks, where nothing reads what the others make."""
        total = len(self.blocks)
        self.model.blocks = self.model.blocks[:num_blocks]
        self.frozen_stages = min(self.frozen_stages, num_blocks)
        dropped = tuple(f"model.blocks.{index}." for index in range(num_blocks, total))
        self.weights_spec = replace(self.weights_spec, dropped=dropped)

    def _stages(self):
        after = ("blocks", *HEAD_PARTS)
        stem = [part for name, part in self.model.named_children() if name not in after]
        tables = list(self.model.parameters(recurse=False))
        return [stem + tables, *([block] for block in self.blocks)]

    def embed(
        self, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None
    ) -> tuple[Tensor, Positions]:
        """Patch embedding: (N, 3, H, W) -> (N, P + h*w, D), and the positions.

        Args:
            images: One batch, whose images may be padded at the bottom and at the right.
            sizes: (height, width) of each image before that padding. Its tokens are then those of
                the image alone: positions on its own grid, and no attention to the padding.
                Windows are cut from the batch's grid, so where they lie depends on the batch.

        Raises:
            ValueError: The image is smaller than one patch, or `sizes` do not fit.
        """
        images, sizes = own_sizes(images, sizes)
        images = self.normalize(images)
        owns = self._own_grids(images, sizes)
        (height, width), (p, q) = images.shape[-2:], self.patch_size
        if height < p or width < q:
            raise ValueError(
                f"an image must be at least one patch of {p} x {q} pixels, got {height} x {width}: "
                "resize it, or choose a ViT with smaller patches"
            )
        grid = (count(height, p), count(width, q))
        if owns is None:
            patches, real = self.model.patch_embed(images), None
            tokens, table = self.family.enter(self.model, patches, grid)
        else:
            patches = self.model.patch_embed(_without_padding(images, sizes))
            tokens, table = self.family.enter_padded(self.model, patches, grid, owns)
            real = real_patches(owns, grid, patches.device)
        return tokens, self._positions(patches, grid, table, real)

    def _own_grids(self, images: Tensor, sizes) -> tuple[tuple[int, int], ...] | None:
        """The grid of each image without its padding; None where nothing is padded."""
        whole, (p, q) = tuple(images.shape[-2:]), self.patch_size
        if sizes is None:
            return None
        if len(sizes) != len(images) or any(h > whole[0] or w > whole[1] for h, w in sizes):
            raise ValueError(
                f"sizes must be the (height, width) of each of {len(images)} images within "
                f"{whole[0]} x {whole[1]}, got {sizes}"
            )
        if all(tuple(size) == whole for size in sizes):
            return None
        if not self.family.takes_sizes:
            raise ValueError(
                "sizes of padded images are not for BEiT, whose bias belongs to the whole grid: "
                "give none, or take a ViT with a table of positions or rotary positions"
            )
        return tuple((count(height, p), count(width, q)) for height, width in sizes)

    def _positions(self, patches: Tensor, grid, table: Tensor | None, real=None) -> Positions:
        prefix, num_images = self.num_prefix_tokens, patches.size(0)
        mask = None if real is None else F.pad(real[:, None, None], (prefix, 0), value=True)
        if self.window_size is None:
            return Positions(grid, table, mask)
        each = of_each_image(table, num_images) if real is None and table is not None else table
        windows = Windows(grid, self.window_size, prefix)
        cut = cut_positions(windows, each, real, num_images, patches.device)
        return Positions(grid, table, mask, **cut)

    def run(self, index: int, tokens: Tensor, positions: Positions) -> Tensor:
        """Run block `index`, on windows or on the whole: (N, P + h*w, D) -> the same shape."""
        windows, table, mask = positions.windows, positions.table, positions.mask
        inside = windows is not None and index not in self.global_blocks
        if inside:
            tokens, table, mask = (
                windows.partition(tokens),
                positions.window_table,
                positions.window_mask,
            )
        args = self.family.arguments(self.model, index, positions.grid, table, mask)
        tokens = super().run(index, tokens, *args)
        return windows.merge(tokens, positions.window_share) if inside else tokens


def _without_padding(images: Tensor, sizes) -> Tensor:
    """Zeros where the padding is, also after a tower's own normalisation."""
    rows, columns = (torch.arange(n, device=images.device) for n in images.shape[-2:])
    inside = [(rows[:, None] < height) & (columns < width) for height, width in sizes]
    return images * torch.stack(inside)[:, None]


def _check_windows(tower: ViTTower, size: int | None, global_blocks) -> tuple[int, ...]:
    """The global blocks, if windows of this size can be cut for this tower."""
    blocks = check_wholes("global_blocks", global_blocks, 0, len(tower.blocks) - 1)
    if size is None:
        if blocks:
            raise ValueError(f"global_blocks={blocks} needs window_size, got None")
        return ()
    check_whole("window_size", size, 1, also=": it is the largest side of a window in patches")
    if not tower.family.takes_sizes:
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
    known = timm.is_model(str(model_name).partition(".")[0])
    args = {**(any_size(model_name) if known else {}), **args}
    try:
        model = create_timm_model(model_name, "vit_*", **args)
    except ValueError as error:
        if not known or "no weights with the tag" in str(error):
            raise
        raise ValueError(f"ViTTower takes plain ViTs of timm only ({error}): {_WORKING}") from error
    kind, embed = type(model), type(getattr(model, "patch_embed", None))
    if kind not in FAMILIES or embed is not PatchEmbed:  # hybrids embed by a CNN
        raise ValueError(
            f"ViTTower takes timm's plain ViTs only, {model_name!r} is a {kind.__name__} with "
            f"{embed.__name__}: {_WORKING}"
        )
    FAMILIES[kind].prepare(model)
    return model
