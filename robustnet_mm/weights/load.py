"""Weights into a module: all, with a report, or nothing and an error that names the keys."""

import re
from dataclasses import dataclass, field

from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor, bfloat16, float16, nn

from robustnet_mm.weights.files import some
from robustnet_mm.weights.spec import Loadable, StateDict

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
        elif not is_finite(value):
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


def is_finite(value: Tensor) -> bool:
    """A sum that is finite has finite terms, and is sooner made than each of them asked."""
    if not value.is_floating_point():
        return True
    return bool(value.sum().isfinite() or value.isfinite().all())


def _dropped_keys(module: nn.Module) -> tuple[str, ...]:
    """Beginnings of keys of parts that the module once had and does without."""
    return tuple(
        f"{name}.{prefix}".lstrip(".")
        for name, part in module.named_modules()
        if isinstance(part, Loadable)
        for prefix in part.weights_spec.dropped
    )


def _advice(found: dict[str, list[str]], module: nn.Module) -> str:
    if found[_NAN]:
        return "The training that wrote it had diverged, or the file is damaged: name another"
    if found["in half precision"]:
        return HALF
    classes = r"(.*\.)?(fc|head|head_dist|classifier)\.(weight|bias).*"
    other_widths = r"((.*_)?head)\..* \(\d+(.*)\), here \(\d+\3\)"  # but for the outputs
    problems = found["missing"] + found["of another shape"]
    if not isinstance(module, Loadable) and not found["left over"] + found["missing"]:
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
        gated = "gated" if any(key.endswith("gate.scale") for key in keys) else "ungated"
        if any(".proj." in text for text in found["left over"]):
            return (
                f"The file's exchanges are of another form: set form={gated!r} in the backbone, or "
                "start fresh exchanges by allow_missing=['fius.'] in init_cfg"
            )
        return (
            "The towers fit, the exchanges do not: check weave, form, fuse and direction against "
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
