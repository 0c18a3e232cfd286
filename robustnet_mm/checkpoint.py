"""Weights of published networks into the towers: state dict -> state dict, every key accounted for.

A file is read without running code in it, its source is recognised by its keys, the keys are
renamed by a literal table, and a report is logged. What stays unexplained is an error.
"""

import argparse
import logging
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model.weight_init import initialize
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from robustnet_mm.key_tables import StateDict, convert, some
from robustnet_mm.registry import WEIGHT_INITIALIZERS


def _named_method(owner, name: str):
    """What `getattr` may do in a file: mmengine's own objects name their own functions."""
    known = owner is HistoryBuffer or owner is OneCycleParamScheduler
    if not known or name.startswith("__"):
        raise pickle.UnpicklingError(f"Unsupported GLOBAL builtins.getattr of {owner}, {name}")
    return getattr(owner, name)


# What training tools store beside the weights: mmengine its message hub, MAE and DeiT their args.
_SAFE = [
    argparse.Namespace,
    HistoryBuffer,
    OneCycleParamScheduler,
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,
    np._core.multiarray.scalar,
    *(getattr(np.dtypes, f"{name}DType") for name in ("Float64", "Float32", "Int64", "Bool")),
    (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    (_named_method, "builtins.getattr"),
]
_CLASSIFIER = re.compile(r"(.*\.)?fc\.(weight|bias)")


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
                parts.append(f"{len(keys)} {name} ({some(keys)})")
        return ", ".join(parts)


def read_checkpoint(path: str | Path) -> dict:
    """The whole file, tensors on CPU, without running code that it may carry.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Truncated, no checkpoint, or a pickle that asks for code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} does not exist: put the file there, or name another"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_SAFE):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if code := re.search(r"GLOBAL ([\w.]+)", reason):
            raise ValueError(
                f"checkpoint {path} holds pickled code ({code[1]}) and is refused: where "
                "you trust it, save its tensors alone by torch.save(state_dict, file)"
            ) from error
        raise ValueError(_broken(path, reason)) from error
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise ValueError(_broken(path, error)) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ValueError(f"checkpoint {path} must hold a dict of weights, got a {kind}")
    return content


def _broken(path: Path, reason) -> str:
    first_line = (str(reason).splitlines() or ["empty"])[0][:120]
    return (
        f"checkpoint {path} ({path.stat().st_size} bytes) is truncated or no checkpoint "
        f"({first_line}): get the file again"
    )


def find_state_dict(checkpoint: dict) -> StateDict:
    """The weights within what training tools wrap around them, without `module.`."""
    for wrapper in ("state_dict", "model"):
        if isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
            break
    weights = {key: value for key, value in checkpoint.items() if torch.is_tensor(value)}
    if not weights:
        keys = some(map(str, checkpoint))
        raise ValueError(f"the checkpoint holds no tensors, its keys are {keys}: name another file")
    return {key.removeprefix("module."): value for key, value in weights.items()}


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
            (report.unused if key.startswith(dropped) else left).append(key)
        elif value.shape == own[key].shape:
            fit[key] = value
        elif key.endswith("pos_embed"):
            fit[key] = _resize_positions(module, key, value)
            report.resized.append(f"{key} {tuple(value.shape)} -> {tuple(own[key].shape)}")
        elif _CLASSIFIER.fullmatch(key) and value.shape[1:] == own[key].shape[1:]:
            report.reinitialised.append(f"{key} {len(value)} -> {len(own[key])} classes")
        else:
            wrong.append(f"{key} {tuple(value.shape)}, here {tuple(own[key].shape)}")
    absent = [k for k in own if k not in weights and not k.endswith("num_batches_tracked")]
    report.missing = [key for key in absent if key.startswith(tuple(allow_missing))]
    missing = [key for key in absent if key not in report.missing]
    if left or wrong or missing:
        found = {"missing": missing, "left over": left, "of another shape": wrong}
        problems = [f"{len(keys)} {what}: {some(keys)}" for what, keys in found.items() if keys]
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


def carry_out_init_cfg(module: nn.Module):
    """Load what the module's `init_cfg` names, if any; modules initialise themselves when made.

    Raises:
        ValueError: An `init_cfg` of another type: mmengine's 'Pretrained' loads what it can.
    """
    for cfg in [module.init_cfg] if isinstance(module.init_cfg, dict) else module.init_cfg or []:
        if cfg["type"] not in ("robustnet_mm.PretrainedTower", "PretrainedTower", PretrainedTower):
            raise ValueError(
                f"init_cfg of {type(module).__name__} must have type='robustnet_mm.PretrainedTower'"
                f", which loads to the last key or fails, got {cfg['type']!r}"
            )
        initialize(module, cfg)
    module._is_init = True


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
        names = [allow_missing] if isinstance(allow_missing, str) else allow_missing
        self.allow_missing = tuple(names)

    def __call__(self, module: nn.Module) -> LoadReport:
        if not hasattr(module, "weights_kind"):
            raise ValueError(
                "PretrainedTower loads a tower, a classifier of TwoTowerHead or RobustNet, got "
                f"{type(module).__name__}: put it into model.backbone.init_cfg, or use load_from"
            )
        weights, source = find_state_dict(read_checkpoint(self.checkpoint)), "this package"
        unused = []
        if self.prefix:
            weights = self._under_prefix(weights)
        elif module.weights_kind:
            weights, unused, source = convert(weights, module.weights_kind)
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
