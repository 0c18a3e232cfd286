"""Say what a file of weights is, and what of this package it would load into.

python tools/model_converters/inspect_checkpoint.py FILE
"""

import argparse
import logging
import re
import sys

import timm
import torch
from mmengine.logging import MMLogger
from timm.models import get_pretrained_cfg

from robustnet_mm.models import CONV_ARCHS, ConvTower, TimmCNNTower, ViTTower
from robustnet_mm.weights import PretrainedTower
from robustnet_mm.weights.convert import has_folded_norms, to_published_names
from robustnet_mm.weights.files import find_state_dict, read_checkpoint, some
from robustnet_mm.weights.spec import StateDict

# layout of the keys -> the parts of timm in which its networks are defined
_MODULES = {
    "ResNet": ("resnet",),
    "ConvNeXt": ("convnext",),
    "RegNet": ("regnet",),
    "EfficientNet": ("mobilenetv3", "efficientnet"),
    "ViT": ("vision_transformer", "deit", "eva", "beit"),
}
_CLASSIFIER = r"(fc|head|head\.fc|head_dist|classifier|conv_cls_head|trans_cls_head)\.(weight|bias)"
_OTHER_ENDS = rf"{_CLASSIFIER}|(norm|fc_norm|head\.norm|attn_pool|decoder_\w+|mask_token)(\..*)?"
_TABLES = ("pos_embed", "relative_position_bias_table")


def describe(weights: StateDict) -> list[str]:
    """What can be read from a network's weights under timm's names, line by line."""
    shape = {key: tuple(value.shape) for key, value in weights.items()}
    classes = [size[0] for key, size in shape.items()
               if re.fullmatch(_CLASSIFIER, key) and len(size) == 2]  # fmt: skip
    lines = [f"classes: {classes[0] if classes else 'no classifier'}"]
    if patch := shape.get("patch_embed.proj.weight"):
        depth = len({key.split(".")[1] for key in weights if key.startswith("blocks.")})
        tokens = [name for name in ("cls_token", "dist_token", "reg_token") if name in shape]
        number = sum(shape[name][1] for name in tokens)
        lines.append(f"ViT: {depth} blocks of width {patch[0]}, patch {patch[2]} x {patch[3]}")
        lines.append(f"prefix tokens: {number} ({', '.join(tokens) or 'none'})")
        lines.append(f"positions: {_positions(shape, patch, number)}")
        scaled = "blocks.0.ls1.gamma" in shape or "blocks.0.gamma_1" in shape
        lines.append(f"LayerScale: {'yes' if scaled else 'no'}")
    if has_folded_norms(weights):
        lines.append("BatchNorm: folded into the convolutions; set norm_eval=True")
    return lines


def _positions(shape: dict, patch: tuple, num_prefix: int) -> str:
    if "pos_embed" not in shape:
        relative = any("relative_position" in key for key in shape)
        return "relative" if relative else "rotary, or none"
    length = shape["pos_embed"][1]
    for prefix in (num_prefix, 0):  # tables with the prefix tokens and without
        side = round((length - prefix) ** 0.5)
        if side * side == length - prefix:
            return f"{side} x {side} patches, images of {side * patch[2]} x {side * patch[3]}"
    return f"a table of {length}, which is no square grid"


def find_names(weights: StateDict, layout: str | None) -> list[str]:
    """timm's networks, or `CONV_ARCHS`, whose tensors have the file's shapes; best first."""
    names = [name for part in _MODULES.get(layout, ()) for name in timm.list_models(module=part)]
    patch = weights.get("patch_embed.proj.weight")
    if patch is not None:
        names = [name for name in names if f"patch{patch.size(-1)}_" in f"{name}_"]
    found = {}
    if names:
        print(f"comparing with {len(names)} networks of timm ...", file=sys.stderr)
    for name in names:
        resized = _misfit(name, weights)
        if resized is not None:
            found[name] = (resized, get_pretrained_cfg(name) is None, len(name))
    return sorted(found, key=found.__getitem__)


def _misfit(name: str, weights: StateDict) -> int | None:
    """Number of tables to be resized if the network has the file's shapes, else None."""
    try:
        with torch.device("meta"):
            own = timm.create_model(name).state_dict()
    except (ValueError, TypeError, RuntimeError, AssertionError):
        return None
    ends = {key for key in own.keys() ^ weights.keys() if "num_batches_tracked" not in key}
    if any(not re.fullmatch(_OTHER_ENDS, key) for key in ends):
        return None
    other = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    other = [key for key in other if not re.fullmatch(_CLASSIFIER, key)]
    return len(other) if all(key.endswith(_TABLES) for key in other) else None


def say_normalization(names: list[str]) -> str:
    """What timm says of the weights of these names, where it agrees."""
    known = {}
    for name in names:
        for full in timm.list_pretrained(f"{name}.*"):
            cfg = get_pretrained_cfg(full)
            mean = tuple(round(255 * value, 2) for value in cfg.mean)
            known.setdefault(mean, []).append(full)
    if not known:
        return "unknown"
    if len(known) == 1:
        return f"mean {next(iter(known))} in all of timm's weights of these names"
    parts = [f"mean {mean} for {some(full, 3)}" for mean, full in known.items()]
    return f"not in the file; {'; '.join(parts)}: name the tag, or set input_norm"


def say_what_would_load(path: str, names: list[str], layout: str):
    """The reports of real loads into the towers that take the file."""
    timm_tower = ViTTower if layout == "ViT" else TimmCNNTower
    choices = [(timm_tower, name) for name in names[:1]]
    if layout in ("ResNet", "Conformer"):
        choices += [(ConvTower, name) for name in CONV_ARCHS]
    for kind, name in choices:
        tower = kind(name)
        try:
            report = PretrainedTower(path)(tower)
        except ValueError as error:
            if kind is timm_tower:
                print(f"does not load into {kind.__name__} {name!r}: {error}")
            continue
        print(f"loads into {type(tower).__name__} {name!r}: {report}")


def main():
    parser = argparse.ArgumentParser(description="Say what a file of weights is")
    parser.add_argument("file", help="checkpoint: .pth, .pt, .bin or .safetensors")
    path = parser.parse_args().file
    MMLogger.get_current_instance().setLevel(logging.ERROR)  # the reports are printed below
    checkpoint = read_checkpoint(path)
    weights = find_state_dict(checkpoint)
    dtypes = sorted({str(v.dtype).removeprefix("torch.") for v in weights.values()})
    print(f"tensors: {len(weights)}, {sum(v.numel() for v in weights.values()) / 1e6:.1f} M "
          f"numbers, {', '.join(dtypes)}")  # fmt: skip
    if own := sorted({m[0] for key in weights if (m := re.match(r"(backbone|head)\.\w+\.", key))}):
        if any(part in own for part in ("backbone.cnn.", "backbone.vit.")):
            print("source: a classifier or detector of this package")
            print(f"parts: {', '.join(own)}")
            print("loads by init_cfg=dict(type='robustnet_mm.PretrainedTower', checkpoint=FILE) "
                  "into RobustNet, its towers, and the classifiers of TwoTowerHead")  # fmt: skip
            return
    named, unused, source = to_published_names(weights)
    layout = source.layout if source else None
    print(f"source: {source.name if source else 'not recognised; keys: ' + some(weights)}")
    if source:
        print("\n".join(describe(named)))
        names = find_names(named, layout)
        if layout != "Conformer":
            print(f"timm's networks of these shapes: {some(names, 8) if names else 'none'}")
            print(f"normalisation: {say_normalization(names)}")
        if unused:
            print(f"not part of the network: {len(unused)} ({some(unused)})")
        say_what_would_load(path, names, layout)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"inspect_checkpoint: {error}")
