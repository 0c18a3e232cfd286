"""What a CNN tower and a ViT tower are: the protocol that the weave, heads and necks rely on.

The weave asks no more of a tower than what these two classes state, so a tower of your own is one
that fills them in.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustnet_mm.arguments import check_flag, check_init_cfg, check_whole
from robustnet_mm.weights import LoadableModule

from .normalize import IMAGENET_NORM, Renormalize
from .positions import Positions
from .recompute import recompute


class CNNBlock(Protocol):
    """A block of a CNN tower: it is told a guide, and tells a detail.

    Attributes:
        guide_channels: Channels Cg of the map to which the guide is added.
        detail_channels: Channels Cd of the detail.
        guided: The module to whose input the guide is added: a convolution, or the whole block.
        reaches_inside: Whether it is a convolution within the block, and the detail its activated
            output; otherwise the exchange happens at the block's borders.
    """

    guide_channels: int
    detail_channels: int
    guided: nn.Module
    reaches_inside: bool

    def __call__(self, feat: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N, Cg, h, w) -> (N, C', H', W') and the detail (N, Cd, H'', W'')"""


class Tower(LoadableModule):
    """What both towers share: freezing, checkpointing, normalisation, loading of their weights.

    Args:
        frozen_stages: -1 trains everything, 0 freezes the stem or patch embedding, n also the
            first n stages of a CNN or the first n blocks of a ViT. Frozen parts stay in eval
            mode.
        norm_eval: Keep every BatchNorm in eval mode.
        with_cp: Recompute the blocks in the backward pass (non re-entrant) to save memory.
        input_norm: `dict(mean=..., std=...)` in pixel values 0..255 with which the weights were
            trained; by default ImageNet's, or what timm says of the name.
        data_norm: What the data preprocessor did to the images, ImageNet's by default. Where the
            two differ, the tower converts.
        init_cfg: `dict(type='robustnet_mm.PretrainedTower', checkpoint=...)`, or None to keep
            the initialisation made at construction.

    Attributes:
        blocks: What runs one after the other, by `run`.
        weights_spec: What its files look like.
    """

    blocks: Sequence[nn.Module]

    def __init__(
        self,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        input_norm: dict | None = None,
        data_norm: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        check_flag("norm_eval", norm_eval)
        check_flag("with_cp", with_cp)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.input_norm = IMAGENET_NORM if input_norm is None else input_norm
        data_norm = IMAGENET_NORM if data_norm is None else data_norm
        self.normalize = Renormalize(data_norm, self.input_norm)

    @abstractmethod
    def _stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """Stem or embedding first, then what each further frozen stage adds."""

    def _freeze(self):
        stages = self._stages()
        name, last = f"frozen_stages of {type(self).__name__}", len(stages) - 1
        check_whole(name, self.frozen_stages, -1, last, f"; {last} freezes all of its stages")
        for part in sum(stages[: self.frozen_stages + 1], []):
            part.requires_grad_(False)
            if isinstance(part, nn.Module):
                part.eval()

    def train(self, mode: bool = True):
        super().train(mode)
        self._freeze()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def run(self, index: int, *args):
        """Run block `index`, recomputing it in the backward pass under `with_cp`."""
        block = self.blocks[index]
        if self.with_cp and self.training:
            return recompute(block, [block], *args)
        return block(*args)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """(depth of the parameter, number of layers): the input layer is 0, block i is i + 1."""
        num_layers = len(self.blocks) + 2  # the last is what follows the tower
        return self._depth(param_name.removeprefix(prefix).removeprefix("model.")), num_layers

    def _depth(self, name: str) -> int:
        parts = name.split(".")
        return int(parts[1]) + 1 if parts[0] == "blocks" else 0


class CNNTower(Tower):
    """A CNN: a stem, and blocks called as `(feat, guide) -> (feat, detail)`; see `CNNBlock`.

    Args:
        channels_last: Keep weights and maps inside the tower in channels_last, which is faster on
            most machines and rounds differently; the maps that leave are contiguous.
        kwargs: See `Tower`; a stage is a level of the pyramid.

    Attributes:
        level_ends: The block that ends each level of the pyramid.
        out_channels: Channels of the pyramid's maps, finest first.
        out_strides: Their strides in pixels.
    """

    blocks: Sequence[CNNBlock]
    level_ends: Sequence[int]
    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]

    def __init__(self, channels_last: bool = False, **kwargs):
        super().__init__(**kwargs)
        check_flag("channels_last", channels_last)
        self.channels_last = channels_last

    @abstractmethod
    def stem(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> what the first block reads"""

    def _complete(self):
        """To be called when all modules are there."""
        if self.channels_last:  # convolutions pass the layout of their weights on to their maps
            self.to(memory_format=torch.channels_last)
        self._freeze()

    @property
    @abstractmethod
    def _stem_parts(self) -> list[nn.Module]:
        """What runs before the first block and has weights."""

    def _stages(self):
        starts = [0, *(end + 1 for end in self.level_ends)]
        levels = [list(self.blocks[a:b]) for a, b in zip(starts, starts[1:], strict=False)]
        return [self._stem_parts, *levels]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The CNN alone: (N, 3, H, W) -> the pyramid's maps, finest first."""
        feat, maps = self.stem(images), []
        for index in range(len(self.blocks)):
            feat, _ = self.run(index, feat)
            if index in self.level_ends:
                maps.append(feat.contiguous())
        return tuple(maps)


class TransformerTower(Tower):
    """A ViT: an embedding, and blocks called by `run` as `(tokens, positions) -> tokens`.

    Attributes:
        embed_dims: Token width D.
        num_prefix_tokens: P, class and register tokens, which stand before the patch tokens.
    """

    embed_dims: int
    num_prefix_tokens: int

    @abstractmethod
    def embed(
        self, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None
    ) -> tuple[Tensor, Positions]:
        """(N, 3, H, W) -> tokens (N, P + h*w, D), and what `run` needs beside them.

        `sizes` are (height, width) of each image before a batch was padded.
        """

    @abstractmethod
    def truncate(self, num_blocks: int):
        """Keep the first `num_blocks` blocks, where nothing reads what the others make."""

    def forward(self, images: Tensor, sizes=None) -> tuple[Tensor, tuple[int, int]]:
        """The ViT alone: (N, 3, H, W) -> tokens (N, P + h*w, D) before the final norm, grid."""
        tokens, positions = self.embed(images, sizes)
        for index in range(len(self.blocks)):
            tokens = self.run(index, tokens, positions)
        return tokens, positions.grid
