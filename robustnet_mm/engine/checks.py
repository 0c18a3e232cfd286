"""What a config says of model and data is held against each other before anything is built."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, METRICS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS

from robustnet_mm import registry
from robustnet_mm.arguments import strange_names
from robustnet_mm.datasets.checks import check_data, need
from robustnet_mm.engine.class_checks import check_classes, class_of, dicts_in
from robustnet_mm.hosts import PACKAGES
from robustnet_mm.models.towers.normalize import IMAGENET_NORM

# what a backbone of ours gives -> those of ours that read it
_READERS = {
    "RobustNet": ("TowerNeck", "SimplePyramid", "TwoTowerHead"),
    "ViTTower": ("SimplePyramid",),
}


def check_config(cfg: Config, splits: tuple[str, ...]):
    """All that can be found in a config and the headers of its files, in seconds.

    Args:
        cfg: The config.
        splits: The data that the run uses: 'train', 'val', 'test'.

    Raises:
        ValueError, FileNotFoundError: The first thing that is wrong, and what to set.
    """
    if "train" in splits:
        check_amp(cfg)
    check_prefixes(cfg)
    check_arguments(cfg)
    check_outputs(cfg)
    check_normalization(cfg)
    check_masks(cfg, splits)
    classes = check_data(cfg, splits)
    for key, evaluator in _evaluators(cfg, splits):
        path = evaluator.get("ann_file")
        if path and "://" not in path and not evaluator.get("backend_args"):
            need(Path(path), "annotation file", key, "ann_file")
    check_classes(cfg, classes)


def _is_ours(cfg: Any) -> bool:
    return isinstance(cfg, Mapping) and str(cfg.get("type")).startswith("robustnet_mm.")


def _evaluators(cfg: Config, splits: tuple[str, ...]) -> Iterator[tuple[str, Mapping]]:
    for place in [f"{split}_evaluator" for split in splits if split != "train"]:
        yield from dicts_in(cfg.get(place) or {}, place)


def check_amp(cfg: Config):
    if cfg.get("optim_wrapper", {}).get("type") == "AmpOptimWrapper":
        if not torch.cuda.is_available():
            raise ValueError(
                "optim_wrapper.type is AmpOptimWrapper (or --amp was given), which needs a GPU, "
                "and none is visible: leave --amp out, or set optim_wrapper.type=OptimWrapper"
            )


def preprocessor_of(cfg: Config) -> Mapping:
    """The config of the data preprocessor that normalises, wherever it stands; {} for none."""
    done = cfg.get("model", {}).get("data_preprocessor") or cfg.get("data_preprocessor") or {}
    return done.get("preprocessor", done)  # within a SizedDataPreprocessor


def check_normalization(cfg: Config):
    """`data_norm` of the backbone must say what the data preprocessor does."""
    model = cfg.get("model", {})
    backbone = model.get("backbone", {})
    if not _is_ours(backbone):
        return
    done = preprocessor_of(cfg)
    stated = backbone.get("data_norm") or IMAGENET_NORM
    for key, nothing in (("mean", 0.0), ("std", 1.0)):
        values = [float(value) for value in done.get(key) or [nothing] * 3]
        if not np.allclose(values, stated[key], atol=1e-2):
            raise ValueError(
                f"model.backbone.data_norm says {key}={list(stated[key])}, but data_preprocessor "
                f"has {key}={values}: set both to what the images go through"
            )
    if not (done.get("bgr_to_rgb") or done.get("to_rgb")):
        raise ValueError(
            "data_preprocessor leaves the images in BGR and the towers read RGB: set "
            "data_preprocessor.bgr_to_rgb=True (mmdet) or data_preprocessor.to_rgb=True"
        )


def check_prefixes(cfg: Config):
    """A name of ours without its scope is looked for among the host's, and not found there."""
    scope = cfg.get("default_scope")
    places = dict(
        model=(MODELS, registry.MODELS),
        data_preprocessor=(MODELS, registry.MODELS),
        default_hooks=(HOOKS, registry.HOOKS),
        custom_hooks=(HOOKS, registry.HOOKS),
        val_evaluator=(METRICS, registry.METRICS),
        test_evaluator=(METRICS, registry.METRICS),
    )
    for place, (theirs, ours) in places.items():
        ours.import_from_location()
        inside = None  # what is ours looks for its parts among ours
        for key, part in dicts_in(cfg.get(place) or {}, place):
            kind = part.get("type")
            if inside is not None and key.startswith(inside):
                continue
            if _is_ours(part) or part.get("_scope_") == "robustnet_mm":
                inside = f"{key}."
            elif kind in ours.module_dict and scope != "robustnet_mm":
                if not theirs.get(f"{scope}.{kind}" if scope else kind):
                    raise ValueError(
                        f"{key}.type must be 'robustnet_mm.{kind}', got {kind!r}: what this "
                        "package adds to the hosts has its prefix, and needs no custom_imports"
                    )
    constructor = cfg.get("optim_wrapper", {}).get("constructor")
    registry.OPTIM_WRAPPER_CONSTRUCTORS.import_from_location()
    if constructor in registry.OPTIM_WRAPPER_CONSTRUCTORS.module_dict:
        if not OPTIM_WRAPPER_CONSTRUCTORS.get(constructor):
            raise ValueError(
                f"optim_wrapper.constructor must be 'robustnet_mm.{constructor}', got "
                f"{constructor!r}"
            )


def check_masks(cfg: Config, splits: tuple[str, ...]):
    """A mask head needs masks to learn from, and masks are measured only where one makes them."""
    mask_heads = [
        key
        for key, _ in dicts_in(cfg.get("model") or {}, "model")
        if key.rpartition(".")[2] == "mask_head"
    ]
    train = (cfg.get("train_dataloader") or {}).get("dataset") if "train" in splits else None
    for key, step in dicts_in(train or {}, "train_dataloader.dataset"):
        loads = str(step.get("type")).rpartition(".")[2] == "LoadAnnotations"
        if mask_heads and loads and step.get("with_bbox") and not step.get("with_mask"):
            raise ValueError(
                f"{mask_heads[0]} learns from masks, and {key} loads none: set with_mask=True "
                "there, or take the mask head out (model.type='FasterRCNN', "
                "model.roi_head.mask_head=None, model.roi_head.mask_roi_extractor=None)"
            )
    no_masks = (cfg.get("model") or {}).get("roi_head") and not mask_heads
    for key, evaluator in _evaluators(cfg, splits):
        if no_masks and "segm" in (evaluator.get("metric") or ()):
            raise ValueError(
                f"{key}.metric must be 'bbox', because model.roi_head has no mask_head, got "
                f"{evaluator['metric']!r}: set it, or take a Mask R-CNN"
            )


def strange_arguments(cfg: Mapping) -> Iterator[tuple[str, str]]:
    """(config key, what is wrong) of each argument that the backbone or a module of ours lacks."""
    for key, part in dicts_in(cfg.get("model") or {}, "model"):
        looked_at = _is_ours(part) or key == "model.backbone"
        kind = class_of(part, cfg.get("default_scope")) if looked_at else None
        if isinstance(kind, type):
            yield from strange_names(key, part, kind)


def check_arguments(cfg: Mapping):
    """Modules of ours get only arguments that they take: the key is named, not the function."""
    for _, message in strange_arguments(cfg):
        raise ValueError(message)


def check_outputs(cfg: Config):
    """What reads a backbone of ours must be able to: a neck or head of the hosts reads maps."""
    model = cfg.get("model") or {}
    backbone = model.get("backbone") or {}
    name = str(backbone.get("type")).partition("robustnet_mm.")[2]
    if name not in _READERS:
        return
    neck = model.get("neck")
    many = isinstance(neck, (list, tuple)) and len(neck) > 0
    head = "decode_head" if "decode_head" in model else "head"
    key = head if not neck else "neck.0" if many else "neck"
    reader = (neck[0] if many else neck) or model.get(head) or {}
    reader = reader[0] if isinstance(reader, (list, tuple)) else reader  # a cascade of heads
    kind = class_of(reader, cfg.get("default_scope"))
    maps_only = name == "RobustNet" and backbone.get("out_type", "towers") == "pyramid"
    if kind is None:
        return
    if maps_only and kind.__name__ in _READERS[name]:
        raise ValueError(
            f"model.{key} is a {kind.__name__}, which reads both towers, and model.backbone gives "
            "maps only (out_type='pyramid'): take it out, or set model.backbone.out_type=towers"
        )
    if not maps_only and kind.__module__.split(".")[0] in PACKAGES:
        first = f"dict(type='robustnet_mm.{_READERS[name][0]}', ...)"
        step = f"write neck=[{first}, dict(type={reader['type']!r}, ...)]"
        if key == "decode_head":
            step = f"write neck={first}"
        if name == "RobustNet":
            step += ", or set model.backbone.out_type=pyramid"
        if key == "head":
            step = "take dict(type='robustnet_mm.TwoTowerHead', ...)"
        raise ValueError(
            f"model.{key} is a {kind.__name__}, which reads feature maps, and {name} gives tokens, "
            f"too: {step}"
        )
