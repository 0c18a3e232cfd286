"""What is trained in a study: the cells of a grid, and the config of each training.

A study is a config with these names, and others that begin with an underscore:

    base       the config from which every cell starts, relative to the study; one that others
               inherit writes "{{ fileDirname }}/...", which stays its own folder
    grid       axis -> option -> differences, as for --cfg-options; a cell takes one of each axis
    seeds      numbers; every cell is trained with each
    metric     what is compared: 'accuracy/top1', 'coco/bbox_mAP'
    controls   the cells (or ensembles) with which all others are compared, pair by pair
    common     optional: differences of every cell, before its own; see "How differences merge"
    reads      optional: cell -> its metric where that is another, dict(cnn='accuracy/top1_cnn')
    ensembles  optional: name -> two cells whose predictions are joined seed by seed, untrained:
               logits are summed; detections are united by NMS at IoU 0.5

How differences merge: those of `common` and of a cell's options become one dict, in which an option
wins over `common`, key by key. Then they are applied to the base, shorter keys first, as those of
--cfg-options are. So a cell may replace a part whole, `{"model.neck": dict(_delete_=True, ...)}`
or a list, and what `common` or the cell says inside of it (`model.backbone.norm_eval`) is set in
the part that replaced it. A key of `common` that this part does not take is an error.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.engine.checks import strange_arguments
from robustnet_mm.hosts import host_of

REQUIRED = ("base", "grid", "seeds", "metric", "controls")
OPTIONAL = ("common", "reads", "ensembles")


def read_study(path: str) -> Config:
    """The study with its optional parts filled in.

    Raises:
        FileNotFoundError, ValueError: What is missing, unknown or contradictory.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"study {path} does not exist: name a file like configs/studies/*")
    study = Config.fromfile(path)
    missing = [name for name in REQUIRED if name not in study]
    known = (*REQUIRED, *OPTIONAL)
    unknown = [name for name in study if name not in known and not name.startswith("_")]
    if missing or unknown:
        raise ValueError(
            f"a study takes {', '.join(REQUIRED)} and may take {', '.join(OPTIONAL)}; {path} "
            f"lacks {missing} and has unknown {unknown}"
        )
    seeds, axes = study.seeds, study.grid
    if not isinstance(seeds, list) or len(set(seeds)) < len(seeds) or not seeds:
        raise ValueError(f"seeds of {path} must be a list of different numbers, got {seeds}")
    if not axes or not all(isinstance(axis, dict) and axis for axis in axes.values()):
        raise ValueError(f"grid of {path} must be dict(axis=dict(option=dict(...))), got {axes}")
    study.base = str(Path(path).parent / study.base)
    for name in OPTIONAL:
        study.setdefault(name, {})
    if not Path(study.base).is_file():
        raise FileNotFoundError(f"base of {path}: {study.base} does not exist")
    cells = list(cells_of(study))
    named = dict(reads=study.reads, ensembles=itertools.chain(*study.ensembles.values()))
    named["controls"] = [name for name in study.controls if name not in study.ensembles]
    for what, names in named.items():
        for name in names:
            if name not in cells:
                also = ", or ensembles" if what == "controls" else ""
                raise ValueError(
                    f"{what} of {path} must name cells ({', '.join(cells)}){also}: {name!r}"
                )
    if study.ensembles and not re.search(r"top\d|_mAP", study.metric):
        raise ValueError(
            f"ensembles of {path} need a metric of a joined prediction, 'accuracy/top1' or "
            f"'coco/bbox_mAP' or their kind, got {study.metric!r}"
        )
    twice = sorted(set(study.ensembles) & set(cells))
    if twice:
        raise ValueError(f"ensembles of {path} must have names of their own, got {twice}")
    return study


def cells_of(study: Config) -> dict[str, dict]:
    """Name -> differences; the name is that of its options, joined by '+'."""
    cells = {}
    for options in itertools.product(*(axis.items() for axis in study.grid.values())):
        differences = dict(study.common)
        for _, changes in options:
            differences.update(changes)
        cells["+".join(name for name, _ in options)] = differences
    return cells


@cache
def base_of(path: str) -> Config:
    """Read once: a study builds a config for each training."""
    return Config.fromfile(path)


def config_of(study: Config, differences: dict, seed: int, folder: Path) -> Config:
    """The config of one training: its seed, its work dir, and where it can its last predictions."""
    cfg = deepcopy(base_of(study.base))
    # copied, because `_delete_` is taken out of it; what is replaced whole comes first
    for key, value in sorted(deepcopy(differences).items(), key=lambda d: d[0].count(".")):
        cfg.merge_from_dict({key: value})  # one by one: mmengine sets no item of a list it just got
    cfg.setdefault("custom_hooks", []).append(dict(type="robustnet_mm.ValidateResumedHook"))
    cfg.work_dir = str(folder)
    cfg.randomness = dict(seed=seed)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1, save_best=None)
    if "val_evaluator" in cfg and host_of(cfg).keeps:
        metrics = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
        path = str(folder / "predictions.pkl")
        keep = dict(type=host_of(cfg).dump, out_file_path=path, _scope_="mmengine")
        cfg.val_evaluator = [*metrics, keep]
    return cfg


def digest_of(cfg: Config) -> str:
    """What tells one training from another: all of its config but the folder."""
    text = json.dumps(cfg.to_dict(), sort_keys=True, default=str).replace(cfg.work_dir, "")
    return hashlib.sha256(text.encode()).hexdigest()


def check_cells(configs: Mapping[str, Mapping], common: Mapping) -> None:
    """Builds the model of each cell, before anything is trained.

    Args:
        configs: Cell -> its config.
        common: The differences of every cell, which may not fit a part that a cell replaces.

    Raises:
        ValueError: Names the cell, and the key where an argument is not taken.
    """
    for name, cfg in configs.items():
        for key, message in strange_arguments(cfg):
            shared = [each for each in common if f"{each}.".startswith(f"{key}.")]
            hint = f"; common sets {shared[0]!r}: move it to the cells that have it"
            raise ValueError(f"cell {name}: {message}{hint if shared else ''}")
        try:
            with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
                MODELS.build(_with_preprocessor(cfg))
        except Exception as error:  # each host has its own
            raise ValueError(f"cell {name}: its model cannot be made: {error}") from error


def _with_preprocessor(cfg: Mapping) -> dict:
    model = dict(cfg["model"])
    if "data_preprocessor" in cfg:
        model.setdefault("data_preprocessor", cfg["data_preprocessor"])
    return model
