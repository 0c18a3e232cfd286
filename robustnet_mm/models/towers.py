"""What the towers share: freezing, recomputing, input normalisation, loading, timm's names.

A CNN tower offers `stem(images) -> feat` and blocks called as `(feat, guide) -> (feat, detail)`;
a ViT tower offers `embed(images) -> (tokens, grid, positions)` and blocks called as
`(tokens, positions) -> tokens`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from math import isclose

import timm
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from robustnet_mm.arguments import (
    as_tuple,
    check_dict,
    check_flag,
    check_init_cfg,
    check_rate,
    check_whole,
    is_number,
)
from robustnet_mm.checkpoint import carry_out_init_cfg

# RGB, in pixel values 0 .. 255: what the hosts' data preprocessors do by default
IMAGENET_NORM = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


@contextmanager
def frozen_statistics(*parts: nn.Module):
    """A pass that leaves the statistics of BatchNorm: under `with_cp` a batch counts once."""
    norms = [m for part in parts for m in part.modules()]
    norms = [m for m in norms if isinstance(m, _BatchNorm) and m.track_running_stats]
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


def recompute(function, parts: list[nn.Module], *args):
    """Call `function`, which runs `parts`, and again in the backward pass instead of storing."""

    def contexts():
        return nullcontext(), frozen_statistics(*parts)

    return checkpoint(function, *args, use_reentrant=False, context_fn=contexts)


class Renormalize(nn.Module):
    """From the data preprocessor's normalisation to that of a tower's weights.

    Args:
        data_norm: `dict(mean=..., std=...)` of three pixel values each, as the preprocessor did.
        input_norm: The same, as the weights were trained with.
    """

    def __init__(self, data_norm: dict, input_norm: dict):
        super().__init__()
        data_mean, data_std = _three_values("data_norm", data_norm)
        mean, std = _three_values("input_norm", input_norm)
        pairs = list(zip(data_mean + data_std, mean + std, strict=True))
        self.same = all(isclose(a, b, abs_tol=1e-2) for a, b in pairs)
        scale = [a / b for a, b in zip(data_std, std, strict=True)]
        shift = [(a - b) / c for a, b, c in zip(data_mean, mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> the same shape; the images themselves where both agree.

        Raises:
            ValueError: No tensor, no images, other channels than three, pixels as whole numbers,
                or double precision.
        """
        _check_images(images, self.scale.dtype)
        return images if self.same else images * self.scale + self.shift


def _check_images(images: Tensor, dtype: torch.dtype):
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images must be one tensor (N, 3, height, width), got a {type(images).__name__}: let "
            "the data preprocessor pad them to one size, or call torch.stack(images)"
        )
    if 0 in images.shape:
        raise ValueError(
            f"images must be a batch (N, 3, height, width) of one image or more, got none in "
            f"{tuple(images.shape)}: leave empty batches out before the network is called"
        )
    doubled = images.dtype == torch.float64 != dtype
    if images.ndim != 4 or images.size(1) != 3 or not images.is_floating_point() or doubled:
        raise ValueError(
            f"images must be (N, 3, height, width) {dtype}, RGB and normalised, got "
            f"{tuple(images.shape)} {images.dtype}: let the data preprocessor make them, or call "
            "images.float() and, where there is one channel, images.expand(-1, 3, -1, -1)"
        )


def _three_values(name: str, norm: dict) -> tuple[list[float], list[float]]:
    given = norm if isinstance(norm, Mapping) else {}
    mean, std = (as_tuple(given.get(key)) or () for key in ("mean", "std"))
    numbers = all(is_number(value) for value in mean + std)
    if len(mean) == len(std) == 3 and numbers and min(std) > 0:
        return [float(value) for value in mean], [float(value) for value in std]
    raise ValueError(
        f"{name} must be dict(mean=three pixel values, std=three above 0), in 0..255, got {norm!r}"
    )


class Tower(BaseModule):
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
    """

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

    def init_weights(self):
        """Load the tower's checkpoint, if any; the modules initialised themselves."""
        carry_out_init_cfg(self)

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
    """What the CNN towers share: levels of the pyramid, and the layout of their maps.

    Args:
        channels_last: Keep weights and maps inside the tower in channels_last, which is faster on
            most machines and rounds differently; the maps that leave are contiguous.
        kwargs: See `Tower`; a stage is a level of the pyramid.
    """

    def __init__(self, channels_last: bool = False, **kwargs):
        super().__init__(**kwargs)
        check_flag("channels_last", channels_last)
        self.channels_last = channels_last

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


def checked_args(model_args: dict | None, **defaults) -> dict:
    """`model_args` over `defaults`, with rates in range: timm takes any number for one."""
    model_args = {} if model_args is None else model_args
    check_dict("model_args", model_args, "dict(drop_path_rate=0.1)")
    args = {**defaults, **model_args}
    for name, value in args.items():
        if name.endswith("_rate") and value is not None:
            check_rate(name, value)
    return args


def create_timm_model(model_name: str, wanted: str, **kwargs) -> nn.Module:
    """A model of timm with fresh weights.

    Args:
        model_name: With or without the tag of its weights: 'vit_base_patch16_224.mae'.
        wanted: Pattern of the names that the caller can use, for the hint: 'vit_*'.
        kwargs: The model's own arguments.

    Raises:
        ValueError: Unknown name or tag, or arguments that timm refuses.
    """
    if kwargs.get("in_chans", 3) != 3:
        raise ValueError(
            f"in_chans of {model_name!r} must be 3, because both towers read the same RGB images, "
            f"got {kwargs['in_chans']}"
        )
    arch, _, tag = str(model_name).partition(".")
    if not timm.is_model(arch):
        known = timm.list_models()
        close = get_close_matches(arch, known, n=3, cutoff=0.4)
        raise ValueError(
            f"model_name must be a name of timm's, got {model_name!r}; close to it: "
            f"{', '.join(close) or 'none'}; all: timm.list_models({wanted!r})"
        )
    if tag and model_name not in timm.list_pretrained(f"{arch}.*"):
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{arch}.*")]
        raise ValueError(
            f"{arch} has no weights with the tag {tag!r}: take one of {', '.join(tags) or 'none'}"
        )
    try:
        return timm.create_model(model_name, **kwargs)
    except Exception as error:  # each network of timm has its own; num_heads=0 is a division by 0
        raise ValueError(
            f"timm cannot make {model_name!r} with {kwargs}: {error}. Check model_args"
        ) from error


def norm_of(model: nn.Module) -> dict:
    """The normalisation that timm knows of a model's weights, in pixel values."""
    cfg = model.pretrained_cfg
    return {key: tuple(round(255 * value, 4) for value in cfg[key]) for key in ("mean", "std")}
