"""Weights of published networks into the towers: state dict -> state dict, every key accounted for.

A file is read without running code in it, its source is recognised by its keys, the keys are
renamed by a literal table, and a report is logged. What stays unexplained is an error.
"""

import argparse
import logging
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from robustnet_mm.registry import WEIGHT_INITIALIZERS

StateDict = dict[str, Tensor]

# What training tools store beside the weights: mmengine its message hub, MAE and DeiT their args.
_SAFE = [
    argparse.Namespace,
    HistoryBuffer,
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,
    np._core.multiarray.scalar,
    *(getattr(np.dtypes, f"{name}DType") for name in ("Float64", "Float32", "Int64", "Bool")),
    (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    getattr,
]


@dataclass(frozen=True)
class Source:
    """Where weights for one kind of module come from: a key that tells, and the literal table."""

    name: str
    kind: str  # which module takes it: 'cnn', 'vit', 'cnn_head', 'vit_head'
    tell: str  # a key that only this source has
    rename: tuple[tuple[str, str], ...]  # (pattern of the file's key, our key)
    unused: str = "(?!)"  # pattern of keys that belong to other parts of the network


_VIT_BODY = r"(patch_embed|norm_pre|blocks|cls_token|reg_token|pos_embed)(\..*)?"
_VIT_REST = r"(norm|fc_norm|head|decoder_\w+|mask_token)(\..*)?"
_RESNET_BODY = r"(conv1|bn1|layer\d)\..*"
_CONFORMER_CONV = r"(conv1|bn1|conv_1|conv_trans_\d+\.(cnn|fusion)_block)\..*"
_CONFORMER_TRANS = (
    r"(trans_\w+|cls_token|pos_embed|conv_trans_\d+\.(trans_block|squeeze_block|expand_block))"
    r"(\..*)?"
)

SOURCES = (
    Source(
        "Conformer (authors)",
        "cnn",
        "conv_trans_2.cnn_block.conv1.weight",
        (
            (r"(conv1|bn1)\.(.*)", r"\1.\2"),
            (r"(.*)\.residual_conv\.(.*)", r"\1.downsample.0.\2"),
            (r"(.*)\.residual_bn\.(.*)", r"\1.downsample.1.\2"),
            (r"conv_1\.(.*)", r"blocks.0.\1"),
            (r"conv_trans_(\d+)\.cnn_block\.(.*)", r"blocks.{2*i-3}.\2"),
            (r"conv_trans_(\d+)\.fusion_block\.(.*)", r"blocks.{2*i-2}.\2"),
        ),
        unused=rf"{_CONFORMER_TRANS}|(conv_cls_head|trans_cls_head|norm)\..*",
    ),
    Source(
        "Conformer (authors)",
        "cnn_head",
        "conv_cls_head.weight",
        ((r"conv_cls_head\.(.*)", r"fc.\1"),),
        unused=rf"{_CONFORMER_CONV}|{_CONFORMER_TRANS}|(trans_cls_head|norm)\..*",
    ),
    Source(
        "ResNet (torchvision, timm)",
        "cnn",
        "layer1.0.conv1.weight",
        ((r"(conv1|bn1)\.(.*)", r"\1.\2"), (r"layer(\d)\.(\d+)\.(.*)", r"blocks.{block}.\3")),
        unused=r"fc\..*",
    ),
    Source(
        "ResNet (torchvision, timm)",
        "cnn_head",
        "layer1.0.conv1.weight",
        ((r"fc\.(.*)", r"fc.\1"),),
        unused=_RESNET_BODY,
    ),
    Source(
        "ViT (timm, DeiT, MAE, DINO)",
        "vit",
        "blocks.0.attn.qkv.weight",
        ((rf"{_VIT_BODY}", r"model.\g<0>"),),
        unused=_VIT_REST,
    ),
    Source(
        "ViT (timm, DeiT, MAE, DINO)",
        "vit_head",
        "blocks.0.attn.qkv.weight",
        ((r"head\.(weight|bias)", r"fc.\1"), (r"(fc_)?norm\.(.*)", r"norm.\2")),
        unused=rf"{_VIT_BODY}|(decoder_\w+|mask_token)(\..*)?",
    ),
)


@dataclass
class LoadReport:
    """What became of every key."""

    source: str
    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    reinitialised: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"source {self.source}: {len(self.loaded)} loaded"]
        for name in ("resized", "unused", "missing", "reinitialised"):
            keys = getattr(self, name)
            if keys:
                parts.append(f"{len(keys)} {name} ({_some(keys)})")
        return ", ".join(parts)


def _some(keys: Iterable[str], most: int = 6) -> str:
    keys = sorted(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def read_checkpoint(path: str | Path) -> dict:
    """The whole file, tensors on CPU, without running code that it may carry.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Truncated, no checkpoint, or a pickle that asks for code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist: put the file there, or name another")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_SAFE):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if "Unsupported global" in reason or "not an allowed global" in reason or "GLOBAL" in reason:
            name = re.search(r"GLOBAL ([\w.]+)", reason)
            raise ValueError(
                f"checkpoint {path} holds pickled code ({name[1] if name else 'an object'}) and is "
                "refused: save its tensors alone with torch.save(state_dict, file) where you trust it"
            ) from error
        raise ValueError(_broken(path, reason)) from error
    except (RuntimeError, EOFError, SafetensorError, OSError) as error:
        raise ValueError(_broken(path, error)) from error


def _broken(path: Path, reason) -> str:
    return (
        f"checkpoint {path} ({path.stat().st_size} bytes) is truncated or no checkpoint "
        f"({str(reason).splitlines()[0][:120]}): get the file again"
    )


def find_state_dict(checkpoint: dict) -> StateDict:
    """The weights within what training tools wrap around them, without `module.`."""
    for wrapper in ("state_dict", "model"):
        if isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
            break
    weights = {key.removeprefix("module."): v for key, v in checkpoint.items() if torch.is_tensor(v)}
    if not weights:
        raise ValueError(f"the checkpoint holds no tensors; its keys: {_some(map(str, checkpoint))}")
    return weights


def convert(weights: StateDict, kind: str) -> tuple[StateDict, list[str], str]:
    """Rename a published network's keys for one kind of module.

    Args:
        weights: State dict as published.
        kind: 'cnn', 'vit', 'cnn_head' or 'vit_head'.

    Returns:
        Renamed weights, keys that belong to other parts, and the source's name.

    Raises:
        ValueError: The source is not recognised, or has keys that its table does not explain.
    """
    candidates = [source for source in SOURCES if source.kind == kind]
    source = next((source for source in candidates if source.tell in weights), None)
    if source is None:
        raise ValueError(
            f"no weights for a {kind} found: keys are {_some(weights)}; known sources are "
            f"{', '.join(s.name for s in candidates)}; for a file of this package give prefix="
        )
    number = _number_blocks(weights)
    renamed, unused, strange = {}, [], []
    for key, value in weights.items():
        new = _rename(key, source, number)
        if new is not None:
            renamed[new] = value
        else:
            (unused if re.fullmatch(source.unused, key) else strange).append(key)
    if strange:
        raise ValueError(
            f"{len(strange)} keys are not those of {source.name}: {_some(strange)}; "
            "the file is of another architecture"
        )
    return renamed, unused, source.name


def _number_blocks(weights: StateDict) -> dict[tuple[str, str], int]:
    """(stage, block within it) of ResNet's keys -> number in the flat list of blocks."""
    found = {m.groups() for key in weights if (m := re.match(r"layer(\d)\.(\d+)\.", key))}
    ordered = sorted(found, key=lambda pair: (int(pair[0]), int(pair[1])))
    return {pair: number for number, pair in enumerate(ordered)}


def _rename(key: str, source: Source, number: dict) -> str | None:
    """Apply every row that matches, in order; `{...}` holds the number of a block."""
    renamed = None
    for pattern, target in source.rename:
        match = re.fullmatch(pattern, renamed or key)
        if match is None:
            continue
        if "{block}" in target:
            target = target.replace("{block}", str(number[match.groups()[:2]]))
        elif computed := re.search(r"\{2\*i-(\d)\}", target):
            block = 2 * int(match[1]) - int(computed[1])
            target = target.replace(computed[0], str(block))
        renamed = match.expand(target)
    return renamed


def load_into(
    module: nn.Module, weights: StateDict, source: str, allow_missing: tuple[str, ...] = ()
) -> LoadReport:
    """Copy converted weights into a module: all of them, or nothing and an error.

    Position tables are resized to the module's grid. A classifier of another number of classes
    keeps its fresh initialisation, and the report says so.

    Args:
        module: A tower, a classifier or a whole network.
        weights: State dict with the module's own keys.
        source: For the report.
        allow_missing: Prefixes of keys that the weights need not have, such as 'fius.'.

    Raises:
        ValueError: Keys missing, left over, or of another shape.
    """
    own, report, fit = module.state_dict(), LoadReport(source), {}
    dropped = tuple(
        f"{name}.{prefix}".lstrip(".")
        for name, part in module.named_modules()
        for prefix in getattr(part, "dropped_keys", ())
    )
    left, wrong = [], []
    for key, value in weights.items():
        if key not in own:
            (report.unused if key.startswith(dropped or ("\0",)) else left).append(key)
        elif value.shape == own[key].shape:
            fit[key] = value
        elif key.endswith("pos_embed"):
            fit[key] = _resize_positions(module, key, value)
            report.resized.append(f"{key} {tuple(value.shape)} -> {tuple(own[key].shape)}")
        elif re.fullmatch(r"(.*\.)?fc\.(weight|bias)", key) and value.shape[1:] == own[key].shape[1:]:
            report.reinitialised.append(f"{key} {len(value)} -> {len(own[key])} classes")
        else:
            wrong.append(f"{key} {tuple(value.shape)}, here {tuple(own[key].shape)}")
    absent = [k for k in own if k not in weights and not k.endswith("num_batches_tracked")]
    report.missing = [key for key in absent if key.startswith(tuple(allow_missing) or ("\0",))]
    missing = [key for key in absent if key not in report.missing]
    if left or wrong or missing:
        problems = [
            f"{len(keys)} keys {what}: {_some(keys)}"
            for keys, what in ((missing, "missing"), (left, "left over"), (wrong, "of another shape"))
            if keys
        ]
        raise ValueError(
            f"the weights ({source}) do not fit {type(module).__name__}, nothing was loaded: "
            f"{'; '.join(problems)}. Check arch or model_name against the file"
        )
    module.load_state_dict(fit, strict=False)
    report.loaded = list(fit)
    return report


def _resize_positions(module: nn.Module, key: str, table: Tensor) -> Tensor:
    """(1, P + h*w, D) -> (1, P + h'*w', D), by timm's bicubic interpolation."""
    vit = module.get_submodule(key.rpartition(".")[0])
    num_prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
    side = round((table.size(1) - num_prefix) ** 0.5)
    if side * side != table.size(1) - num_prefix or table.size(-1) != vit.embed_dim:
        raise ValueError(
            f"{key} of shape {tuple(table.shape)} is no square grid of {num_prefix} prefix tokens "
            f"and width {vit.embed_dim}: it cannot be resized to {vit.patch_embed.grid_size}"
        )
    return resample_abs_pos_embed(
        table, list(vit.patch_embed.grid_size), [side, side], num_prefix_tokens=num_prefix
    )


@WEIGHT_INITIALIZERS.register_module()
class PretrainedTower:
    """`init_cfg` of towers, their classifiers and `RobustNet`: loads to the last key, or fails.

    Args:
        checkpoint: Path of the file.
        prefix: Takes what stands under this prefix in a checkpoint of this package, such as
            'backbone.' or 'backbone.vit.'; without it the file is a published network's.
        allow_missing: See `load_into`.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, allow_missing: tuple = ()):
        self.checkpoint = checkpoint
        self.prefix = prefix
        self.allow_missing = tuple(allow_missing)

    def __call__(self, module: nn.Module) -> LoadReport:
        weights, source = find_state_dict(read_checkpoint(self.checkpoint)), "this package"
        unused = []
        if self.prefix:
            weights = self._under_prefix(weights)
        elif kind := getattr(module, "weights_kind", None):
            weights, unused, source = convert(weights, kind)
        report = load_into(module, weights, source, self.allow_missing)
        report.unused += unused
        level = logging.WARNING if report.reinitialised or report.missing else logging.INFO
        message = f"{type(module).__name__} from {self.checkpoint}: {report}"
        print_log(message, logger="current", level=level)
        return report

    def _under_prefix(self, weights: StateDict) -> StateDict:
        size = len(self.prefix)
        chosen = {key[size:]: v for key, v in weights.items() if key.startswith(self.prefix)}
        if not chosen:
            present = sorted({key.split(".")[0] + "." for key in weights})
            raise ValueError(
                f"{self.checkpoint} has no keys under prefix {self.prefix!r}; "
                f"it has {', '.join(present)}"
            )
        return chosen
