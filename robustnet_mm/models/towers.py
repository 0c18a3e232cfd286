"""The two towers. Each is shaped exactly like a published network, so that its weights load.

A CNN tower offers `stem(images) -> feat` and blocks called as `(feat, guide) -> (feat, detail)`;
a ViT tower offers `embed(images) -> (tokens, grid)` and blocks called as `tokens -> tokens`.
"""

from abc import abstractmethod
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from math import ceil

import timm
from mmengine.model import BaseModule
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from robustnet_mm.checkpoint import carry_out_init_cfg
from robustnet_mm.registry import MODELS

from .conv_blocks import CONV_ARCHS


@contextmanager
def _frozen_statistics(module: nn.Module):
    """BatchNorm counts a batch once: the recomputation under `with_cp` leaves its statistics."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


class Tower(BaseModule):
    """What both towers share: freezing, checkpointing, loading of their own weights.

    Args:
        frozen_stages: -1 trains everything, 0 freezes the stem or patch embedding, n also the
            first n stages of a CNN or the first n blocks of a ViT. Frozen parts stay in eval
            mode.
        norm_eval: Keep every BatchNorm in eval mode.
        with_cp: Recompute the blocks in the backward pass (non re-entrant) to save memory.
        init_cfg: `dict(type='robustnet_mm.PretrainedTower', checkpoint=...)`, or None to keep
            the initialisation made at construction.
    """

    def __init__(self, frozen_stages=-1, norm_eval=False, with_cp=False, init_cfg=None):
        super().__init__(init_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

    @abstractmethod
    def _stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """Stem or embedding first, then what each further frozen stage adds."""

    def _freeze(self):
        stages = self._stages()
        if not -1 <= self.frozen_stages < len(stages):
            raise ValueError(
                f"frozen_stages of {type(self).__name__} must be in -1..{len(stages) - 1}, "
                f"got {self.frozen_stages}"
            )
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

    def init_weights(self):
        """Load the tower's checkpoint, if any; the modules initialised themselves."""
        carry_out_init_cfg(self)

    def run(self, index: int, *args):
        """Run block `index`, recomputing it in the backward pass under `with_cp`."""
        block = self.blocks[index]
        if not (self.with_cp and self.training):
            return block(*args)

        def contexts():
            return nullcontext(), _frozen_statistics(block)

        return checkpoint(block, *args, use_reentrant=False, context_fn=contexts)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """(depth of the parameter, number of layers): the input layer is 0, block i is i + 1."""
        num_layers = len(self.blocks) + 2  # the last is what follows the tower
        parts = param_name.removeprefix(prefix).removeprefix("model.").split(".")
        return (int(parts[1]) + 1 if parts[0] == "blocks" else 0), num_layers


@MODELS.register_module()
class ConvTower(Tower):
    """A residual CNN as a flat list of blocks; also a backbone of its own (a CNN control).

    Args:
        arch: A row of `CONV_ARCHS`: 'resnet18' .. 'resnext101_32x8d', 'conformer_small', ...
        frozen_stages: See `Tower`; a stage is a level of the pyramid.
        norm_eval: See `Tower`.
        with_cp: See `Tower`.
        init_cfg: See `Tower`.

    Attributes:
        out_channels: Channels of the pyramid's maps.
        out_strides: Their strides in pixels: (4, 8, 16, 32).
        level_ends: The block that ends each level.

    Raises:
        ValueError: Unknown `arch`, or `frozen_stages` out of range.
    """

    weights_kind = "cnn"

    def __init__(self, arch: str, frozen_stages=-1, norm_eval=False, with_cp=False, init_cfg=None):
        super().__init__(frozen_stages, norm_eval, with_cp, init_cfg)
        if arch not in CONV_ARCHS:
            raise ValueError(
                f"arch of ConvTower must be one of {', '.join(CONV_ARCHS)}, got {arch!r}"
            )
        spec = CONV_ARCHS[arch]
        self.conv1 = nn.Conv2d(3, spec.stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(spec.stem, eps=spec.eps)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks = nn.ModuleList()
        self.level_ends, self.out_strides, inner, stride_so_far = [], [], spec.stem, 4
        for stage, outer in enumerate(spec.channels):
            for stride in spec.strides(stage):
                always = spec.conformer and len(self.blocks) == 0
                project = stride != 1 or (inner != outer) or always
                widths = (inner, int(outer * spec.mid_ratio), outer)
                self.blocks.append(spec.block(widths, stride, project, spec.groups, spec.eps))
                inner, stride_so_far = outer, stride_so_far * stride
            self.level_ends.append(len(self.blocks) - 1)
            self.out_strides.append(stride_so_far)
        self.out_channels, self.out_strides = tuple(spec.channels), tuple(self.out_strides)
        self._init_random()
        self._freeze()

    def _init_random(self):
        """Each residual block starts as its shortcut: sane maps even with untrained statistics."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for block in self.blocks:
            nn.init.zeros_(block.last_norm.weight)

    def _stages(self):
        starts = [0, *(end + 1 for end in self.level_ends)]
        levels = [list(self.blocks[a:b]) for a, b in zip(starts, starts[1:], strict=False)]
        return [[self.conv1, self.bn1], *levels]

    def stem(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 64, H/4, W/4)"""
        return self.maxpool(self.relu(self.bn1(self.conv1(images))))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The CNN alone: (N, 3, H, W) -> the pyramid's maps, finest first."""
        feat, maps = self.stem(images), []
        for index in range(len(self.blocks)):
            feat, _ = self.run(index, feat)
            if index in self.level_ends:
                maps.append(feat)
        return tuple(maps)


@MODELS.register_module()
class ViTTower(Tower):
    """Any plain `VisionTransformer` of timm, at any image size; norm and head belong to heads.

    Images are padded with zeros to whole patches and the position table is resized to the grid.

    Args:
        model_name: timm's name, e.g. 'vit_base_patch16_224' or 'vit_base_patch14_dinov2'.
        model_args: Overrides of that model's own arguments, e.g. `dict(depth=4)`.
        drop_path_rate: Stochastic depth of the last block, growing from 0 at the first.
        frozen_stages: See `Tower`; a stage is a block.
        with_cp: See `Tower`.
        init_cfg: See `Tower`.

    Attributes:
        embed_dims: Token width D.
        patch_size: (height, width) of a patch in pixels.
        num_prefix_tokens: Class and register tokens, which stand before the patch tokens.

    Raises:
        ValueError: Unknown name, or a model of timm that is no `VisionTransformer`.
    """

    weights_kind = "vit"

    def __init__(
        self,
        model_name: str,
        model_args: dict | None = None,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg=None,
    ):
        super().__init__(frozen_stages, with_cp=with_cp, init_cfg=init_cfg)
        args = dict(num_classes=0, global_pool="", dynamic_img_size=True, dynamic_img_pad=True)
        model = _create_vit(model_name, {**args, **(model_args or {})}, drop_path_rate)
        model.norm = model.fc_norm = model.head_drop = model.head = nn.Identity()
        self.model = model
        self.embed_dims = model.embed_dim
        self.patch_size = model.patch_embed.patch_size
        self.num_prefix_tokens = model.num_prefix_tokens
        self._freeze()

    @property
    def blocks(self) -> nn.Sequential:
        return self.model.blocks

    def truncate(self, num_blocks: int):
        """Keep the first `num_blocks` blocks, where nothing reads what the others make."""
        total = len(self.blocks)
        self.model.blocks = self.model.blocks[:num_blocks]
        self.frozen_stages = min(self.frozen_stages, num_blocks)
        self.dropped_keys = [f"model.blocks.{index}." for index in range(num_blocks, total)]

    def _stages(self):
        tables = [self.model.pos_embed, self.model.cls_token, self.model.reg_token]
        parts = [self.model.patch_embed, self.model.norm_pre]
        stem = parts + [table for table in tables if table is not None]
        return [stem, *([block] for block in self.blocks)]

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patch embedding: (N, 3, H, W) -> (N, P + h*w, D) and the grid (h, w).

        Raises:
            ValueError: The image is smaller than one patch.
        """
        (height, width), (p, q) = images.shape[-2:], self.patch_size
        if height < p or width < q:
            raise ValueError(
                f"an image must be at least one patch of {p} x {q} pixels, got {height} x {width}: "
                "resize it, or choose a ViT with smaller patches"
            )
        tokens = self.model._pos_embed(self.model.patch_embed(images))
        tokens = self.model.norm_pre(self.model.patch_drop(tokens))
        return tokens, (ceil(height / p), ceil(width / q))

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The ViT alone: (N, 3, H, W) -> tokens (N, P + h*w, D) before the final norm, grid."""
        tokens, grid = self.embed(images)
        for index in range(len(self.blocks)):
            tokens = self.run(index, tokens)
        return tokens, grid


def _create_vit(model_name: str, args: dict, drop_path_rate: float) -> VisionTransformer:
    if not timm.is_model(model_name):
        known = timm.list_models(["vit_*", "deit*"])
        close = get_close_matches(model_name, known, n=3, cutoff=0.4)
        raise ValueError(
            f"model_name of ViTTower must be a name of timm's, got {model_name!r}; "
            f"close to it: {', '.join(close) or 'none'}; all: timm.list_models('vit*')"
        )
    wanted = f"ViTTower takes timm's VisionTransformer models, not {model_name!r}"
    hint = "choose one, such as 'vit_base_patch16_224' or 'deit_tiny_patch16_224'"
    try:
        model = timm.create_model(model_name, drop_path_rate=drop_path_rate, **args)
    except (TypeError, AssertionError, RuntimeError) as error:
        raise ValueError(f"{wanted}, or one of its arguments is wrong ({error}): {hint}") from error
    kind, embed = type(model), type(getattr(model, "patch_embed", None))
    if kind is not VisionTransformer or embed is not PatchEmbed:  # hybrids embed by a CNN
        raise ValueError(f"{wanted}, a {kind.__name__} with {embed.__name__}: {hint}")
    return model
