"""The trainings of a study: each a process of tools/train.py in a folder of its own.

What has finished is skipped, and what was interrupted goes on from its last epoch. A folder has
`cell.py`, the config; `started.json`, the digest of it and the time of each start; `log.txt`;
`predictions.pkl`, those of the last validation; and at the end `finished.json`, the seconds of all
starts together.
"""

import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.fileio import dump, load

from robustnet_mm.engine.records import read_epochs
from robustnet_mm.files import locked
from robustnet_mm.processes import die_with_parent

from .compare import heads_of, join
from .grid import cells_of, config_of, digest_of

WHOLE = dict(backend_args=dict(backend="whole"))  # of robustnet_mm.engine


def _started(folder: Path) -> Path:
    return folder / "started.json"


def check_started(cfg: Config) -> None:
    """A folder belongs to one config.

    Raises:
        ValueError: It holds a training by another.
    """
    mark = _started(Path(cfg.work_dir))
    if mark.is_file() and load(mark)["config"] != digest_of(cfg):
        raise ValueError(
            f"{cfg.work_dir} holds a training by another config: remove it, or set --work-dir"
        )


def _seconds_before(folder: Path) -> float:
    """What the starts of an interrupted training took, the last one until its log ended."""
    mark, log = _started(folder), folder / "log.txt"
    if not (mark.is_file() and log.is_file()):
        return 0.0
    last = load(mark)
    return last.get("before", 0.0) + max(log.stat().st_mtime - last.get("start", 1e12), 0.0)


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """One study at a time in a work dir.

    Raises:
        ValueError: Another one runs there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".study.lock", "study"):
        yield


def has_finished(cfg: Config) -> bool:
    """Whether the folder holds the whole training by this very config."""
    folder, marks = Path(cfg.work_dir), ("started.json", "finished.json")
    if not all((folder / mark).is_file() for mark in marks):
        return False
    return load(_started(folder))["config"] == digest_of(cfg)


def run_cell(
    cfg: Config,
    script: Path,
    *,
    threads: int = 1,
    device: str | None = None,
    keep_checkpoints: bool = False,
) -> float | None:
    """Train one cell in a process of its own, or go on with it.

    Args:
        cfg: As `config_of` gives it; its work dir is the folder of the training.
        script: tools/train.py.
        threads: CPU threads of the training.
        device: Name of its GPU, or None.
        keep_checkpoints: Of a finished training.

    Returns:
        The seconds of this call, None where it had finished.

    Raises:
        ValueError: The folder holds a training by another config, or the training failed.
    """
    folder = Path(cfg.work_dir)
    mark, log_file = folder / "finished.json", folder / "log.txt"
    check_started(cfg)
    if mark.is_file():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    before = _seconds_before(folder)
    dump(dict(config=digest_of(cfg), before=before, start=time.time()), _started(folder), **WHOLE)
    cfg.dump(folder / "cell.py")
    command = [sys.executable, str(script), str(folder / "cell.py"), "--resume"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    start = time.time()
    with open(log_file, "a") as log:
        outputs = dict(stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent)
        code = subprocess.run(command, **outputs).returncode
    if code:
        lines = log_file.read_text().strip().splitlines() or [""]
        raise ValueError(f"training ended with {code}: {lines[-1][:300]} (see {folder}/log.txt)")
    seconds = time.time() - start
    dump(dict(seconds=round(before + seconds, 1)), mark, **WHOLE)
    if not keep_checkpoints:
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


def value_of(epochs: list[dict], metric: str) -> float:
    """A metric after the last of `read_epochs`.

    Raises:
        ValueError: It was not measured; names those that were.
    """
    last = epochs[-1]
    if metric not in last:
        known = ", ".join(name for name in last if name != "epoch")
        raise ValueError(f"metric {metric!r} was not measured, only {known}: see metric and reads")
    return last[metric]


def jobs_of(study: Config, cells: dict[str, dict], out: Path) -> list[tuple[str, int, Config]]:
    """(cell, seed, config) of each training, seed by seed, so that a part of them has pairs.

    Raises:
        ValueError: A folder of `out` holds a training by another config.
    """
    jobs = [
        (name, seed, config_of(study, cells[name], seed, out / name / f"seed_{seed}"))
        for seed in study.seeds
        for name in cells
    ]
    for _, _, cfg in jobs:
        check_started(cfg)
    return jobs


def train_all(
    study: Config,
    cells: dict[str, dict],
    out: Path,
    script: Path,
    *,
    say: Callable[[str], None],
    processes: int = 1,
    threads: int = 1,
    keep_checkpoints: bool = False,
) -> list[str]:
    """Run what is missing, seed by seed.

    Args:
        study: As `read_study` gives it.
        cells: Those of `cells_of` that are trained.
        out: Work dir of the study; a training has `<out>/<cell>/seed_<seed>`.
        script: tools/train.py.
        say: Takes a line about each training when it has ended; called from several threads.
        processes: How many trainings run at once.
        threads: CPU threads of each.
        keep_checkpoints: Of finished trainings.

    Returns:
        The lines about those that failed.

    Raises:
        ValueError: A folder holds a training by another config; then none is started.
    """
    jobs = jobs_of(study, cells, out)
    failures, slots = [], devices(processes)
    options = dict(threads=threads, keep_checkpoints=keep_checkpoints)

    def run(number: int):
        name, seed, cfg = jobs[number]
        head = f"[{number + 1}/{len(jobs)}] {name} seed {seed}:"
        metric, slot = study.reads.get(name, study.metric), slots.get()
        try:
            seconds = run_cell(cfg, script, device=slot, **options)
            value = value_of(read_epochs(Path(cfg.work_dir)), metric)
        except ValueError as error:
            failures.append(f"{head} {error}")
            say(failures[-1])
            return
        finally:
            slots.put(slot)
        took = "was finished" if seconds is None else f"{seconds:.0f} s"
        say(f"{head} {metric} {value:.4g}, {took}")

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(run, range(len(jobs))))
    return failures


def collect(study: Config, out: Path) -> dict:
    """Every finished training's metrics, epoch by epoch, and those of the ensembles.

    Returns:
        Cell or ensemble -> seed -> `dict(value, epochs)`; of trainings `seconds` too, and `heads`
        of those that read both.
    """
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
