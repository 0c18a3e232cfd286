"""Weights into the towers: all, with a report, or nothing and an error that names the keys."""

import logging
import re
from dataclasses import dataclass, field
from os import PathLike

from mmengine.logging import print_log
from mmengine.model.weight_init import initialize
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from timm.models import get_pretrained_cfg, list_pretrained
from torch import Tensor, bfloat16, float16, nn

from robustnet_mm.arguments import check_init_cfg, check_patterns, check_text
from robustnet_mm.conversion import OWN_SOURCE, convert, has_folded_norms, under_prefix
from robustnet_mm.downloads import fetch_weights
from robustnet_mm.key_tables import StateDict
from robustnet_mm.registry import WEIGHT_INITIALIZERS
from robustnet_mm.weight_files import find_state_dict, read_checkpoint, some

_NAN = "not finite (NaN or infinite)"
HALF = (
    "Such a file has lost digits: get the one in float32, or accept the loss by "
    "torch.save({k: v.float() for k, v in weights.items()}, file)"
)


def in_half_precision(value: Tensor, own: Tensor) -> bool:
    """Whether a file has fewer digits than the module that is to take it."""
    return value.dtype in (float16, bfloat16) and value.dtype != own.dtype


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


def load_into(
    module: nn.Module,
    weights: StateDict,
    source: str,
    allow_missing: tuple[str, ...] = (),
    published: bool = False,
) -> LoadReport:
    """Copy converted weights into a module: all of them, or nothing and an error.

    Position tables are resized to the module's grid.

    Args:
        module: A tower, a classifier or a whole network.
        weights: State dict with the module's own keys.
        source: For the report.
        allow_missing: Patterns of the beginnings of keys that the weights need not have, such as
            'fius.', or that may be of another number of classes, such as 'fc.'.
        published: The tables of positions are those of a square grid, as published networks
            have them; otherwise a table of the same length is on the module's own grid.

    Raises:
        ValueError: Keys missing, left over, of another shape, not finite, or not in full precision.
    """
    own, report, dropped = module.state_dict(), LoadReport(source), _dropped_keys(module)
    fit, left, wrong, half, bad = {}, [], [], [], []
    for key, value in weights.items():
        if key not in own:
            (report.unused if key.startswith(dropped) else left).append(key)
            continue
        allowed = any(re.match(pattern, key) for pattern in allow_missing)
        size = f"{key} {tuple(value.shape)}", f"{tuple(own[key].shape)}"
        if in_half_precision(value, own[key]):
            half.append(key)
        elif value.is_floating_point() and not value.isfinite().all():
            bad.append(key)
        elif _is_on_another_grid(module, key, value, published):
            try:
                fit[key] = _resize_table(module, key, value)
                report.resized.append(" -> ".join(size))
            except ValueError as error:
                wrong.append(str(error))
        elif value.shape == own[key].shape:
            fit[key] = value
        elif allowed:
            report.reinitialised.append(", here ".join(size))
        else:
            wrong.append(", here ".join(size))
    absent = [k for k in own if k not in weights and not k.endswith("num_batches_tracked")]
    report.missing = [k for k in absent if any(re.match(p, k) for p in allow_missing)]
    missing = [key for key in absent if key not in report.missing]
    found = {"missing": missing, "left over": left, "of another shape": wrong, _NAN: bad}
    found["in half precision"] = half
    if problems := [f"{len(k)} {what}: {some(k)}" for what, k in found.items() if k]:
        raise ValueError(
            f"the weights ({source}) do not fit {type(module).__name__}, nothing was loaded: "
            f"{'; '.join(problems)}. {_advice(found, module)}"
        )
    module.load_state_dict(fit, strict=False)
    report.loaded = list(fit)
    return report


def _dropped_keys(module: nn.Module) -> tuple[str, ...]:
    """Beginnings of keys of parts that the module once had and does without."""
    return tuple(
        f"{name}.{prefix}".lstrip(".")
        for name, part in module.named_modules()
        for prefix in getattr(part, "dropped_keys", ())
    )


def _advice(found: dict[str, list[str]], module: nn.Module) -> str:
    if found[_NAN]:
        return "The training that wrote it had diverged, or the file is damaged: name another"
    if found["in half precision"]:
        return HALF
    classes = r"(.*\.)?(fc|head|head_dist|classifier)\.(weight|bias).*"
    other_widths = r"((.*_)?head)\..* \(\d+(.*)\), here \(\d+\3\)"  # but for the outputs
    problems = found["missing"] + found["of another shape"]
    if not hasattr(module, "weights_kind") and not found["left over"] + found["missing"]:
        if all(re.fullmatch(other_widths, text) for text in problems):
            return (
                "The heads of the file are for another number of classes: take the config of these "
                "classes with which it was trained, or set num_classes of the heads to the file's"
            )
    if not found["left over"] and all(re.fullmatch(classes, text) for text in problems):
        return (
            "The file has no classifier of these classes: take a config of these classes, or for a "
            "fresh classifier leave its init_cfg away, or keep its other weights by allow_missing="
            f"[{problems[0].rpartition('.')[0]!r}]"
        )
    keys = [text.split(" ")[0] for text in problems + found["left over"]]
    if all(key.startswith(("fius.", "backbone.fius.")) for key in keys):
        return (
            "The towers fit, the exchanges do not: check weave, gate, fuse and direction against "
            "the file; allow_missing=['fius.'] in init_cfg starts fresh exchanges"
        )
    return "Check arch or model_name (and its model_args) against the file"


def _grid(module: nn.Module) -> tuple[nn.Module, tuple[int, int]]:
    vit = next(part for part in module.modules() if hasattr(part, "patch_embed"))
    return vit, tuple(vit.patch_embed.grid_size)


def _is_on_another_grid(module: nn.Module, key: str, table: Tensor, published: bool) -> bool:
    if not key.endswith(("pos_embed", "relative_position_bias_table")):
        return False
    height, width = _grid(module)[1]
    same_length = table.shape == module.state_dict()[key].shape
    return not same_length or (published and height != width)


def _resize_table(module: nn.Module, key: str, table: Tensor) -> Tensor:
    """A table of positions of a square grid on the module's grid.

    Raises:
        ValueError: Not of a square grid, or of another width.
    """
    vit, grid = _grid(module)
    own = module.state_dict()[key]
    relative = key.endswith("bias_table")
    num_prefix = 0 if getattr(vit, "no_embed_class", False) else vit.num_prefix_tokens
    length = table.size(0) - 3 if relative else table.size(1) - num_prefix
    side = round(max(length, 0) ** 0.5)
    if side * side != length or table.size(-1) != own.size(-1):
        raise ValueError(
            f"{key} {tuple(table.shape)}, which is no square grid of {num_prefix} prefix tokens "
            f"and width {own.size(-1)} and cannot be resized to {grid}"
        )
    if relative:  # (2h - 1) * (2w - 1) distances and 3 for the class token, one column per head
        return resize_rel_pos_bias_table(table, grid, tuple(own.shape))
    # (1, P + h*w, D) -> (1, P + h'*w', D), bicubic
    return resample_abs_pos_embed(table, list(grid), [side, side], num_prefix_tokens=num_prefix)


def carry_out_init_cfg(module: nn.Module):
    """Load what the module's `init_cfg` names, if any; modules initialise themselves when made.

    Raises:
        ValueError: An `init_cfg` of another type: mmengine's 'Pretrained' loads what it can.
    """
    check_init_cfg(module, module.init_cfg)
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
        checkpoint: Path of the file: a published network's, or a classifier's or detector's of
            this package, of which each module takes its own part.
        pretrained: Instead of a path, True for the weights of the module's own `model_name`, or
            another name of timm's: the file is downloaded if it is not there.
        prefix: Takes what stands under this prefix, with the module's own names.
        allow_missing: See `load_into`.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        pretrained: bool | str = False,
        prefix: str | None = None,
        allow_missing: tuple = (),
    ):
        kinds = isinstance(checkpoint, str | PathLike | None) and isinstance(pretrained, bool | str)
        if not kinds or bool(checkpoint) == bool(pretrained):
            raise ValueError(
                "PretrainedTower needs checkpoint='FILE' or pretrained=True, one of them, got "
                f"checkpoint={checkpoint!r}, pretrained={pretrained!r}"
            )
        self.checkpoint = checkpoint
        self.pretrained = pretrained
        check_text("prefix", prefix, "backbone.")
        self.prefix = prefix
        self.allow_missing = check_patterns("allow_missing", allow_missing, "fius.")

    def __call__(self, module: nn.Module) -> LoadReport:
        if not hasattr(module, "weights_kind"):
            raise ValueError(
                "PretrainedTower loads a tower, a classifier of TwoTowerHead or RobustNet, got "
                f"{type(module).__name__}: put it into model.backbone.init_cfg, or use load_from"
            )
        path = self.checkpoint or fetch_weights(self._model_name(module))
        weights, source = find_state_dict(read_checkpoint(path)), OWN_SOURCE
        if self.prefix:
            weights, unused = under_prefix(weights, self.prefix)
        else:
            weights, unused, source = convert(weights, module)
        report = load_into(
            module, weights, source, self.allow_missing, published=source != OWN_SOURCE
        )
        report.unused += unused if source != OWN_SOURCE else []
        level = logging.WARNING if report.reinitialised or report.missing else logging.INFO
        message = f"{type(module).__name__} from {path}: {report}"
        print_log(message, logger="current", level=level)
        _warn_of_folded_norms(module)
        if self.checkpoint and source != OWN_SOURCE:
            _warn_of_other_normalizations(module)
        return report

    def _model_name(self, module: nn.Module) -> str:
        if self.pretrained is not True:
            return self.pretrained
        if not hasattr(module, "model_name"):
            raise ValueError(
                f"{type(module).__name__} has no model_name of timm's: name the weights, "
                "pretrained='resnet50.a1_in1k', or the file, checkpoint='FILE'"
            )
        return module.model_name


def _warn_of_other_normalizations(module: nn.Module):
    """A name of timm's without a tag stands for weights of several normalisations."""
    name = getattr(module, "model_name", ".")
    if "." in name or getattr(module, "input_norm_given", True):
        return
    norms = {full: get_pretrained_cfg(full).mean for full in list_pretrained(f"{name}.*")}
    if len(set(norms.values())) > 1:
        print_log(
            f"{name} reads images normalised with mean {module.input_norm['mean']}, but timm has "
            f"weights of this name for other means ({some(norms)}): name the tag of the file's, or "
            "set input_norm",
            logger="current",
            level=logging.WARNING,
        )


def _warn_of_folded_norms(module: nn.Module):
    if getattr(module, "norm_eval", True) or module.weights_kind != "cnn":
        return
    if has_folded_norms(module.state_dict()):
        print_log(
            "all BatchNorm statistics of the file are 0 and 1: its norms were folded into the "
            "convolutions. Set norm_eval=True, or training changes the network at once",
            logger="current",
            level=logging.WARNING,
        )
