"""Checkpoints of a training: kept until the next one stands, and found again after a crash."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log

from robustnet_mm.registry import HOOKS
from robustnet_mm.weight_files import read_checkpoint

_POINTER = "last_checkpoint"  # mmengine's file that names the newest
_OWN_NAMES = re.compile(r"(epoch|iter)_\d+\.pth")


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """The checkpoint that a work directory names as its newest, if it is there.

    Where the whole folder was moved or copied, its own file of that name is meant.
    """
    pointer = Path(work_dir) / _POINTER
    name = pointer.read_text().strip() if pointer.is_file() else ""
    places = [pointer.with_name(Path(name).name), Path(name)] if name else []
    return next((path for path in places if path.exists()), None)


def find_newest(work_dir: str | Path) -> tuple[Path, dict | None] | None:
    """The newest whole checkpoint of a work directory and its content, to go on from.

    That is the one that mmengine's `last_checkpoint` names. It is another where that file names
    none that is there, where the named one is damaged, or where a newer one stands beside it,
    because the training was killed before it wrote the name; this is said.

    Returns:
        None where there is no checkpoint at all. A folder, as DeepSpeed writes, has no content.

    Raises:
        ValueError: There are checkpoints, and none is whole.
    """
    named, reasons = last_checkpoint(work_dir), []
    for path in _newest_first(Path(work_dir), named):
        try:
            content = None if path.is_dir() else read_checkpoint(path)
        except ValueError as error:
            reasons.append(str(error))
            continue
        if path != named:
            pointed = f"{_POINTER} names {named}" if named else f"{_POINTER} names none"
            why = "; ".join([pointed, *reasons])
            message = f"--resume goes on from {path}, the newest whole checkpoint ({why})"
            print_log(message, "current", logging.WARNING)
        return path, content
    if reasons:
        raise ValueError(
            f"no checkpoint in {work_dir} is whole ({reasons[0]}): name another by --resume PATH, "
            "or leave --resume out and start anew in another --work-dir"
        )
    return None


def _newest_first(folder: Path, named: Path | None) -> Iterator[Path]:
    places = {folder, named.parent} if named else {folder}
    files = [path for place in places for path in place.glob("*.pth")]
    files = [path for path in files if _OWN_NAMES.fullmatch(path.name) and path != named]
    files.sort(key=_time_of, reverse=True)
    if named is None:
        return iter(files)
    # newer than the pointer, which is written after each checkpoint
    newer = [path for path in files if _time_of(path) > _time_of(folder / _POINTER)]
    return iter([*newer, named, *files[len(newer) :]])


def _time_of(path: Path) -> int:
    return path.stat().st_mtime_ns


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
