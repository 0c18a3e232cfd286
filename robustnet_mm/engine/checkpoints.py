"""Checkpoints of a training: kept until the next one stands, and found again after a crash."""

import inspect
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log

from robustnet_mm.arguments import nearest
from robustnet_mm.registry import HOOKS
from robustnet_mm.weights.files import read_checkpoint

_POINTER = "last_checkpoint"  # mmengine's file that names the newest
_SETTINGS = tuple(inspect.signature(CheckpointHook.__init__).parameters)


def folder_of(cfg: Mapping) -> Path:
    """Where a training's checkpoints are: in its work directory, or in the hook's `out_dir`."""
    work_dir, out_dir = Path(cfg["work_dir"]), _hook(cfg).get("out_dir")
    return Path(out_dir, work_dir.name) if out_dir else work_dir


def _hook(cfg: Mapping) -> Mapping:
    return (cfg.get("default_hooks") or {}).get("checkpoint") or {}


def _named_in(work_dir: str | Path) -> str:
    """What the pointer of a work directory says, '' for nothing."""
    pointer = Path(work_dir, _POINTER)
    return pointer.read_bytes()[:4096].decode(errors="replace").strip() if pointer.is_file() else ""


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """The checkpoint that a work directory names as its newest, if it is there.

    Where the whole folder was moved or copied, its own file of that name is meant.
    """
    name = _named_in(work_dir)
    if not Path(name).name.strip("."):
        return None
    for path in (Path(work_dir, Path(name).name), Path(name)):
        try:
            if path.exists():
                return path
        except (OSError, ValueError):  # a name that no file can have
            pass
    return None


def find_newest(cfg: Mapping) -> tuple[Path, dict | None] | None:
    """The newest whole checkpoint of a training and its content, to go on from.

    That is the one that mmengine's `last_checkpoint` names. It is another where that file names
    none that is there, where the named one is damaged, or where a later one stands beside it,
    because the training was killed before it wrote the name; this is said.

    Returns:
        None where there is no checkpoint at all. A folder, as DeepSpeed writes, has no content.

    Raises:
        ValueError: There are checkpoints, and none is whole or has the name that the config gives.
    """
    work_dir, folder = Path(cfg["work_dir"]), folder_of(cfg)
    named, reasons = last_checkpoint(work_dir), []
    for path in _newest_first(work_dir, folder, named, _hook(cfg).get("filename_tmpl")):
        try:
            content = None if path.is_dir() else read_checkpoint(path)
        except (ValueError, OSError) as error:
            reasons.append(str(error))
            continue
        if path != named:
            name = named or _named_in(work_dir)[:200]
            said = f"{_POINTER} names {name}" + ("" if named else ", which is not there")
            why = "; ".join([said if name else f"{_POINTER} names none", *reasons])
            message = f"--resume goes on from {path}, the newest whole checkpoint ({why})"
            print_log(message, "current", logging.WARNING)
        return path, content
    others = sorted(path.name for path in folder.glob("*.pth"))
    if reasons or others:
        why = reasons[0] if reasons else f"of the names that this config gives, but {others[:3]}"
        raise ValueError(
            f"no checkpoint in {folder} is whole ({why}): name another by --resume PATH, or leave "
            "--resume out and start anew in another --work-dir"
        )
    return None


def _newest_first(
    work_dir: Path, folder: Path, named: Path | None, template: str | None
) -> list[Path]:
    pattern = r"(?:epoch|iter)_(\d+)\.pth"
    if template:
        pattern = re.sub(r"\\\{[^}]*\\\}", r"(\\d+)", re.escape(template), count=1)

    def number(name: str) -> int:
        match = re.fullmatch(pattern, name)
        return int(match[1]) if match else -1

    pointer = work_dir / _POINTER
    files = [path for path in folder.glob("*") if number(path.name) >= 0 and path.is_file()]
    files = sorted((path for path in files if path != named), key=lambda path: -number(path.name))
    last = number(Path(_named_in(work_dir)).name)
    if last < 0:
        return [named] * bool(named) + files
    # the pointer is written after each checkpoint: what has a higher number and is older than it
    # is of an earlier training
    above = [path for path in files if number(path.name) > last]
    later = [p for p in above if p.stat().st_mtime_ns > pointer.stat().st_mtime_ns]
    below = [path for path in files if number(path.name) <= last]
    return [*later, *([named] * bool(named)), *below, *(p for p in above if p not in later)]


class _RemovesLater:
    """A file backend whose removals wait."""

    def __init__(self, backend):
        self._backend, self._doomed = backend, []

    def __getattr__(self, name: str):
        return getattr(self._backend, name)

    def remove(self, path: str):
        self._doomed.append((self._backend.remove, path))

    def rmtree(self, path: str):
        self._doomed.append((self._backend.rmtree, path))

    def carry_out(self, kept: set[str]):
        """Remove what waits, but for what has been written anew."""
        for remove, path in self._doomed:
            if path not in kept:
                remove(path)
        self._doomed = []


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook that never leaves a training without a whole checkpoint.

    Files are written whole or not at all, and an old one (`max_keep_ckpts`, `save_best`) is removed
    only when the new one stands; mmengine's own removes it before.

    Args:
        backend_args: The storage; by default local files that are written whole.
        kwargs: As in mmengine.
    """

    def __init__(self, *args, backend_args: dict | None = None, **kwargs):
        for name in kwargs:  # mmengine's takes any, and fails when it saves
            if name not in _SETTINGS:
                hint = nearest(name, _SETTINGS)
                raise ValueError(f"{name} is no argument of WholeCheckpointHook{hint}")
        super().__init__(*args, backend_args=backend_args or dict(backend="whole"), **kwargs)

    def before_train(self, runner):
        super().before_train(runner)
        self.file_backend = _RemovesLater(self.file_backend)

    def _save_checkpoint(self, runner):
        self._save(runner, super()._save_checkpoint, runner)

    def _save_best_checkpoint(self, runner, metrics: dict):
        if self.save_best:
            self._save(runner, super()._save_best_checkpoint, runner, metrics)

    def _save(self, runner, save, *args):
        before = last_checkpoint(runner.work_dir)
        try:
            save(*args)
        except OSError as error:
            raise OSError(
                f"a checkpoint could not be written to {self.out_dir} ({error}); the last good one "
                f"is {before or 'not there yet'}. Make room, then go on by the same command with "
                "--resume"
            ) from error
        best = getattr(self, "best_ckpt_path_dict", {}).values()
        self.file_backend.carry_out({self.last_ckpt, getattr(self, "best_ckpt_path", None), *best})
