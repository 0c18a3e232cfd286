"""Run a study: one base config, a grid of differences, several seeds; table, intervals, plots.

    python tools/analysis_tools/study.py configs/studies/digit_scenes_crops.py --processes 2

A study is a config with these names, and others that begin with an underscore:

    base       the config from which every cell starts, relative to the study
    grid       axis -> option -> differences, as for --cfg-options; a cell takes one of each axis
    seeds      numbers; every cell is trained with each
    metric     what is compared: 'accuracy/top1', 'coco/bbox_mAP'
    controls   the cells (or ensembles) with which all others are compared, pair by pair
    common     optional: differences of every cell, before its own
    reads      optional: cell -> its metric where that is another, dict(cnn='accuracy/top1_cnn')
    ensembles  optional: name -> two cells whose predictions are joined seed by seed, untrained:
               logits are summed; detections are united by NMS at IoU 0.5

Every cell is a training of its own by tools/train.py; what has finished is skipped, and what was
interrupted goes on from its last epoch. Writes results.json, results.md, curves.png and
differences.png into the work dir.
"""

import argparse
import hashlib
import itertools
import json
import os
import platform
import queue
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.fileio import dump, load
from mmengine.logging import MMLogger

from robustnet_mm.analysis.study import (
    check_cells,
    compare,
    heads_of,
    join,
    read_epochs,
    value_of,
)
from robustnet_mm.analysis.study_report import draw, heads_markdown, markdown
from robustnet_mm.processes import die_with_parent

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
REQUIRED = ("base", "grid", "seeds", "metric", "controls")
OPTIONAL = ("common", "reads", "ensembles")
WHOLE = dict(backend_args=dict(backend="whole"))  # of robustnet_mm.engine


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a study")
    parser.add_argument("study", help="config of the study")
    parser.add_argument("--work-dir", help="default: work_dirs/<name of the study>")
    parser.add_argument("--processes", type=int, default=1, help="trainings that run at once")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each training")
    parser.add_argument("--only", nargs="+", metavar="CELL", help="train these cells only")
    parser.add_argument("--keep-checkpoints", action="store_true", help="of finished cells")
    return parser.parse_args()


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
    """The config of one training: its seed, its work dir, and its last predictions kept."""
    cfg = deepcopy(base_of(study.base))
    # copied, because `_delete_` is taken out of it; what is replaced whole comes first
    cfg.merge_from_dict(dict(sorted(deepcopy(differences).items(), key=lambda d: d[0].count("."))))
    cfg.setdefault("custom_hooks", []).append(dict(type="robustnet_mm.ValidateResumedHook"))
    cfg.work_dir = str(folder)
    cfg.randomness = dict(seed=seed)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1, save_best=None)
    kind = "mmdet.DumpDetResults" if cfg.default_scope == "mmdet" else "DumpResults"
    metrics = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    keep = dict(type=kind, out_file_path=str(folder / "predictions.pkl"), _scope_="mmengine")
    cfg.val_evaluator = [*metrics, keep]
    return cfg


def digest_of(cfg: Config) -> str:
    """What tells one training from another: all of its config but the folder."""
    text = json.dumps(cfg.to_dict(), sort_keys=True, default=str).replace(cfg.work_dir, "")
    return hashlib.sha256(text.encode()).hexdigest()


def has_finished(cfg: Config) -> bool:
    """Whether the folder holds the whole training by this very config."""
    folder, marks = Path(cfg.work_dir), ("started.json", "finished.json")
    if not all((folder / mark).is_file() for mark in marks):
        return False
    return load(folder / "started.json")["config"] == digest_of(cfg)


def run_cell(cfg: Config, args: argparse.Namespace, device: str | None) -> float | None:
    """Train one cell, or go on with it; the seconds of this call, None where it had finished.

    Raises:
        ValueError: The folder holds a training by another config, or the training failed.
    """
    folder, digest = Path(cfg.work_dir), digest_of(cfg)
    mark = folder / "finished.json"
    started = folder / "started.json"
    if started.is_file() and load(started)["config"] != digest:
        raise ValueError(
            f"{folder} holds a training by another config: remove it, or set --work-dir"
        )
    if mark.is_file():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    dump(dict(config=digest), started, **WHOLE)
    cfg.dump(folder / "cell.py")
    command = [sys.executable, str(TRAIN), str(folder / "cell.py"), "--resume"]
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    start = time.time()
    with open(folder / "log.txt", "a") as log:
        outputs = dict(stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent)
        code = subprocess.run(command, **outputs).returncode
    if code:
        lines = (folder / "log.txt").read_text().strip().splitlines() or [""]
        raise ValueError(f"training ended with {code}: {lines[-1][:300]} (see {folder}/log.txt)")
    seconds = time.time() - start
    dump(dict(seconds=round(seconds, 1)), mark, **WHOLE)
    if not args.keep_checkpoints:
        for path in (*folder.glob("epoch_*.pth"), folder / "last_checkpoint"):
            path.unlink(missing_ok=True)
    return seconds


def devices(processes: int) -> queue.Queue:
    """A slot for each training that runs at once: a GPU's name, None without GPUs."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = named if named[0] else [str(k) for k in range(torch.cuda.device_count())]
    slots = queue.Queue()
    for process in range(processes):
        slots.put(names[process % len(names)] if torch.cuda.is_available() else None)
    return slots


def say(line: str):
    """In one write: print's newline comes in a second, and another thread's line before it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def train_all(study: Config, args: argparse.Namespace, out: Path) -> list[str]:
    """Run what is missing, a line of progress for each training; the failures."""
    cells = cells_of(study)
    for name in args.only or ():
        if name not in cells:
            raise ValueError(f"--only takes {', '.join(cells)}, got {name!r}")
    chosen = {name: cells[name] for name in args.only or cells}
    # seed by seed, so that an interrupted study has whole pairs
    jobs = [(name, seed) for seed in study.seeds for name in chosen]
    failures, slots = [], devices(args.processes)

    def run(number: int):
        name, seed = jobs[number]
        folder = out / name / f"seed_{seed}"
        head = f"[{number + 1}/{len(jobs)}] {name} seed {seed}:"
        metric, slot = study.reads.get(name, study.metric), slots.get()
        try:
            seconds = run_cell(config_of(study, chosen[name], seed, folder), args, slot)
            value = value_of(read_epochs(folder), metric)
        except ValueError as error:
            failures.append(f"{head} {error}")
            say(failures[-1])
            return
        finally:
            slots.put(slot)
        took = "was finished" if seconds is None else f"{seconds:.0f} s"
        say(f"{head} {metric} {value:.4g}, {took}")

    with ThreadPoolExecutor(args.processes) as pool:
        list(pool.map(run, range(len(jobs))))
    return failures


def collect(study: Config, out: Path) -> dict:
    """Every finished training's metrics, epoch by epoch, and those of the ensembles."""
    found = {}
    for name, differences in cells_of(study).items():
        for seed in study.seeds:
            folder = out / name / f"seed_{seed}"
            if has_finished(config_of(study, differences, seed, folder)):
                seconds = load(folder / "finished.json")["seconds"]
                run = dict(seconds=seconds, epochs=read_epochs(folder))
                run["value"] = value_of(run["epochs"], study.reads.get(name, study.metric))
                if name not in study.reads:  # the other head of a single tower is untrained
                    run["heads"] = heads_of(folder)
                found.setdefault(name, {})[seed] = run
    for name, members in study.ensembles.items():
        for seed in study.seeds:
            if all(seed in found.get(member, {}) for member in members):
                folders = [out / member / f"seed_{seed}" for member in members]
                kinds = [study.reads.get(member, study.metric) for member in members]
                value = join(folders, kinds, study.metric)
                found.setdefault(name, {})[seed] = dict(value=value, epochs=[])
    return found


def main():
    args = parse_args()
    MMLogger.get_instance("study", log_level="WARNING")  # or each config names its variables
    study = read_study(args.study)
    out = Path(args.work_dir or Path("work_dirs") / Path(args.study).stem)
    cells = cells_of(study).items()
    check_cells({n: config_of(study, changes, 0, out) for n, changes in cells}, study.common)
    out.mkdir(parents=True, exist_ok=True)
    failures = train_all(study, args, out)
    runs = collect(study, out)
    if not runs:
        raise ValueError(f"no cell of {args.study} has finished: {failures}")
    differences = compare(runs, study.controls)
    versions = dict(python=platform.python_version(), torch=torch.__version__)
    record = dict(study=study.to_dict(), versions=versions, runs=runs, differences=differences)
    dump(record, out / "results.json", **WHOLE, indent=1)
    table = markdown(runs, differences, study) + heads_markdown(runs)
    (out / "results.md").write_text(table)
    draw(runs, differences, study, out)
    print(table)
    if failures:
        sys.exit(f"{len(failures)} trainings failed:\n" + "\n".join(failures))


if __name__ == "__main__":
    main()
