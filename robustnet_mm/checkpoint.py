"""Weights of published networks into the towers: state dict -> state dict, every key accounted for.

The source of a file is recognised by its keys, the keys are renamed by a literal table, and a
report is logged. What stays unexplained is an error, and nothing is loaded.
"""

import logging
import re
from dataclasses import dataclass, field

from mmengine.logging import print_log
from mmengine.model.weight_init import initialize
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor, bfloat16, cat, float16, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustnet_mm.key_tables import SOURCES, Rows, Source, StateDict
from robustnet_mm.registry import WEIGHT_INITIALIZERS
from robustnet_mm.weight_files import fetch_weights, find_state_dict, read_checkpoint, some

# where a module of a given `weights_kind` stands in a classifier or a detector of this package
_OWN_PREFIX = {
    "network": "backbone.",
    "cnn": "backbone.cnn.",
    "vit": "backbone.vit.",
    "cnn_head": "head.cnn.",
    "vit_head": "head.vit.",
}
_OWN_SOURCE = "this package"
# networks that no table covers, by a key of theirs
_FOREIGN = (
    (r"visual\.(conv1|trunk|transformer).*", "CLIP as OpenAI or OpenCLIP keep it"),
    (r"(backbone\.)?(layers|stages)\.\d\.blocks\.\d\.attn\.(w_msa\.)?qkv\.weight", "a Swin"),
    (r"features\.denseblock1.*", "a DenseNet"),
    (r"features\.0\.bias", "a VGG or AlexNet"),
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
                parts.append(f"{len(keys)} {name} ({some(keys)})")
        return ", ".join(parts)


def find_source(weights: StateDict) -> Source | None:
    """The first source whose key is there."""
    for source in SOURCES:
        if any(re.fullmatch(source.tell, key) for key in weights):
            return source
    return None


def rename(weights: StateDict, rows: Rows) -> tuple[StateDict, list[str]]:
    """Apply every row that matches, in order; what a row maps to None is left out, and named.

    'key#0', 'key#1', 'key#2' become one 'key', concatenated: query, key and value.
    """
    renamed, unused = {}, []
    for key, value in weights.items():
        name = key
        for pattern, target in rows:
            if match := re.fullmatch(pattern, name):
                name = match.expand(target) if target is not None else None
                if name is None:
                    unused.append(key)
                    break
        if name is not None:
            renamed[name] = value
    for part in sorted(name for name in renamed if "#" in name):
        name, value = part.partition("#")[0], renamed.pop(part)
        renamed[name] = cat([renamed[name], value]) if name in renamed else value
    return renamed, unused


def to_published_names(weights: StateDict) -> tuple[StateDict, list[str], Source | None]:
    """A file's weights under timm's names (or the Conformer authors'), unused keys, the source."""
    source = find_source(weights)
    if source is None:
        return weights, [], None
    weights, unused = rename(weights, source.rename)
    return (source.finish(weights) if source.finish else weights), unused, source


def convert(weights: StateDict, module: nn.Module) -> tuple[StateDict, list[str], str]:
    """A file's weights under the module's own names.

    Args:
        weights: State dict of a published network, or of a classifier or detector of this package.
        module: A tower, one of its classifiers, or `RobustNet`.

    Returns:
        Renamed weights, keys that belong to other parts, and the source's name.

    Raises:
        ValueError: The source is not recognised, is another kind of network, or has norms that
            differ from the module's.
    """
    prefix = _OWN_PREFIX[module.weights_kind]
    if any(key.startswith(("backbone.cnn.", "backbone.vit.")) for key in weights):
        return (*_under_prefix(weights, prefix), _OWN_SOURCE)
    if module.weights_kind == "network":
        return weights, [], _OWN_SOURCE
    named, unused, source = to_published_names(weights)
    if source is None or source.layout not in module.layouts:
        own, elsewhere, _ = _place(weights, module.published_keys)
        if hasattr(module, "model_name") and own.keys() >= module.state_dict().keys():
            return own, elsewhere, "timm"
        _refuse(weights, source, module)
    eps = {part.eps for part in module.modules() if isinstance(part, _BatchNorm)}
    if source.norm_eps and eps and eps != {source.norm_eps}:
        raise ValueError(
            f"{source.name} was trained with norms of eps {source.norm_eps}, this "
            f"{type(module).__name__} has {eps.pop()}: add "
            f"model_args=dict(bn_eps={source.norm_eps}) to it"
        )
    own, elsewhere, strange = _place(named, module.published_keys)
    if strange:
        raise ValueError(
            f"{len(strange)} keys are not those of a {source.layout} for {type(module).__name__}: "
            f"{some(strange)}; the file ({source.name}) is of another architecture, or pools in "
            "another way: nothing was loaded"
        )
    return own, unused + elsewhere, source.name


def _place(weights: StateDict, rows: Rows) -> tuple[StateDict, list[str], list[str]]:
    """The module's own keys by the first row that matches, keys of other parts, strange keys."""
    own, elsewhere, strange = {}, [], []
    for key, value in weights.items():
        matches = ((re.fullmatch(pattern, key), target) for pattern, target in rows)
        match, target = next((pair for pair in matches if pair[0]), (None, None))
        if match and target:
            own[match.expand(target)] = value
        else:
            (elsewhere if match else strange).append(key)
    return own, elsewhere, strange


def _under_prefix(weights: StateDict, prefix: str) -> tuple[StateDict, list[str]]:
    chosen = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    if not chosen:
        present = sorted({key.split(".")[0] + "." for key in weights})
        raise ValueError(
            f"the file has no keys under prefix {prefix!r}; it has {', '.join(present)}"
        )
    return chosen, [key for key in weights if not key.startswith(prefix)]


def _refuse(weights: StateDict, source: Source | None, module: nn.Module):
    takes = f"{type(module).__name__} takes the weights of a {' or '.join(module.layouts)}"
    if source:
        raise ValueError(
            f"the file is a {source.layout} ({source.name}), {takes}: nothing was loaded. "
            "Name the file of that network, or another tower"
        )
    likely = [what for tell, what in _FOREIGN if any(re.fullmatch(tell, key) for key in weights)]
    hint = f"It looks like {likely[0]}. " if likely else ""
    known = ", ".join(dict.fromkeys(s.name for s in SOURCES if s.layout in module.layouts))
    raise ValueError(
        f"the source of the file is not recognised, {takes}: its keys are {some(weights)}. {hint}"
        f"Known: {known}. For a part of another network give prefix="
    )


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
        ValueError: Keys missing, left over, of another shape, or not in full precision.
    """
    own, report, fit = module.state_dict(), LoadReport(source), {}
    dropped = tuple(
        f"{name}.{prefix}".lstrip(".")
        for name, part in module.named_modules()
        for prefix in getattr(part, "dropped_keys", ())
    )
    left, wrong, half = [], [], []
    for key, value in weights.items():
        if key not in own:
            (report.unused if key.startswith(dropped) else left).append(key)
            continue
        allowed = any(re.match(pattern, key) for pattern in allow_missing)
        size = f"{key} {tuple(value.shape)}", f"{tuple(own[key].shape)}"
        if value.dtype in (float16, bfloat16):
            half.append(key)
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
    found = {"missing": missing, "left over": left, "of another shape": wrong}
    found["in half precision"] = half
    if problems := [f"{len(k)} {what}: {some(k)}" for what, k in found.items() if k]:
        raise ValueError(
            f"the weights ({source}) do not fit {type(module).__name__}, nothing was loaded: "
            f"{'; '.join(problems)}. {_advice(found)}"
        )
    module.load_state_dict(fit, strict=False)
    report.loaded = list(fit)
    return report


def _advice(found: dict[str, list[str]]) -> str:
    if found["in half precision"]:
        return (
            "Such a file has lost digits: get the one in float32, or accept the loss by "
            "torch.save({k: v.float() for k, v in weights.items()}, file)"
        )
    classes = r"(.*\.)?(fc|head|head_dist|classifier)\.(weight|bias).*"
    problems = found["missing"] + found["of another shape"]
    if not found["left over"] and all(re.fullmatch(classes, text) for text in problems):
        return (
            "The file has no classifier of these classes: leave init_cfg away for a fresh one, or "
            f"keep the rest by allow_missing=[{problems[0].rpartition('.')[0]!r}]"
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
        if bool(checkpoint) == bool(pretrained):
            raise ValueError(
                "PretrainedTower needs checkpoint='FILE' or pretrained=True, one of them, got "
                f"checkpoint={checkpoint!r}, pretrained={pretrained!r}"
            )
        self.checkpoint = checkpoint
        self.pretrained = pretrained
        self.prefix = prefix
        names = [allow_missing] if isinstance(allow_missing, str) else allow_missing
        self.allow_missing = tuple(names)

    def __call__(self, module: nn.Module) -> LoadReport:
        if not hasattr(module, "weights_kind"):
            raise ValueError(
                "PretrainedTower loads a tower, a classifier of TwoTowerHead or RobustNet, got "
                f"{type(module).__name__}: put it into model.backbone.init_cfg, or use load_from"
            )
        path = self.checkpoint or fetch_weights(self._model_name(module))
        weights, source = find_state_dict(read_checkpoint(path)), _OWN_SOURCE
        if self.prefix:
            weights, unused = _under_prefix(weights, self.prefix)
        else:
            weights, unused, source = convert(weights, module)
        report = load_into(
            module, weights, source, self.allow_missing, published=source != _OWN_SOURCE
        )
        report.unused += unused if source != _OWN_SOURCE else []
        level = logging.WARNING if report.reinitialised or report.missing else logging.INFO
        message = f"{type(module).__name__} from {path}: {report}"
        print_log(message, logger="current", level=level)
        _warn_of_folded_norms(module)
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


def _warn_of_folded_norms(module: nn.Module):
    """A CNN exported for inference has its norms inside its convolutions."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    if getattr(module, "norm_eval", True) or module.weights_kind != "cnn" or not norms:
        return
    if all(not norm.running_mean.any() and (norm.running_var == 1).all() for norm in norms):
        print_log(
            "all BatchNorm statistics of the file are 0 and 1: its norms were folded into the "
            "convolutions. Set norm_eval=True, or training changes the network at once",
            logger="current",
            level=logging.WARNING,
        )
