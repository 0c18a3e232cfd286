"""Files of weights: read without running code in them, and unwrapped."""

import argparse
import copyreg
import io
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader
from safetensors.torch import load_file
from torch import Tensor

from robustnet_mm.weights.downloads import ADDRESSES, fetch

_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # with which torch's format before 1.6 begins
# What training tools wrap around the weights; where averaged weights are there, they are meant.
_WRAPPERS = ("state_dict_ema", "model_ema", "teacher", "state_dict", "model", "module")


class _History(HistoryBuffer):
    """mmengine's history of a loss, as a file gives it: its numbers, and no methods for the class.

    mmengine's own takes functions from the file into a table that all histories share.
    """

    def __setstate__(self, state: dict):
        self.__init__(max_length=int(state["max_length"]))
        self._log_history, self._count_history = (
            np.asarray(state[name], dtype=float) for name in ("_log_history", "_count_history")
        )

    def __reduce__(self):
        return copyreg.__newobj__, (HistoryBuffer,), HistoryBuffer.__getstate__(self)


# What `getattr` may do in a file: mmengine's own objects name these functions of theirs.
_NAMED = {(_History, name) for name in ("min", "max", "current", "mean")}
_NAMED |= {(OneCycleParamScheduler, f"_annealing_{name}") for name in ("cos", "linear")}


def _named_method(owner, name: str):
    if (owner, name) not in _NAMED:
        raise pickle.UnpicklingError(f"Unsupported GLOBAL builtins.getattr of {owner}, {name}")
    return getattr(owner, name)


def _known_as(function, name: str):
    """`function` under the name that a file has for it; torch before 2.6 takes no such pairs."""
    alias = partial(function)
    alias.__module__, _, alias.__name__ = name.rpartition(".")
    alias.__qualname__ = alias.__name__
    return alias


_NUMBERS = ("Bool", *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)))
_NUMBERS = (*_NUMBERS, "Float16", "Float32", "Float64")
_NUMPY = (np.ndarray, np.dtype, np._core.multiarray._reconstruct, np._core.multiarray.scalar)
_History.__module__ = HistoryBuffer.__module__  # a file has mmengine's name for it
_History.__name__ = _History.__qualname__ = HistoryBuffer.__name__
# What training tools store beside the weights: mmengine its message hub, MAE and DeiT their args.
_SAFE = [
    argparse.Namespace,
    _History,
    OneCycleParamScheduler,
    *_NUMPY,
    *(getattr(np.dtypes, f"{name}DType") for name in _NUMBERS),
    _known_as(np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    _known_as(np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    _known_as(_named_method, "builtins.getattr"),
]


def some(keys: Iterable[str], most: int = 6) -> str:
    """The first keys in order, and how many more there are."""
    keys = sorted(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def read_checkpoint(place: str | Path) -> dict:
    """The whole file, tensors on CPU, without running code that it may carry.

    Args:
        place: A path, with `~` for the home folder, or an address; see `downloads.fetch`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Truncated, no checkpoint, or a pickle that asks for code.
        ConnectionError: An address from which nothing comes.
    """
    if not str(place):
        raise ValueError("checkpoint must name a file, got ''")
    path = fetch(str(place)) if "://" in str(place) else Path(os.path.expanduser(place))
    if path.is_dir():
        inside = some(file.name for file in path.iterdir() if file.suffix in _SUFFIXES) or "none"
        raise FileNotFoundError(
            f"checkpoint {place} is a folder: name a file in it, weight files there: {inside}"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {place} does not exist: put the file there, or name another"
        )
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ValueError(f"checkpoint {place} cannot be read ({error})") from error
    if what := _what_else(head):
        raise ValueError(f"checkpoint {place} is {what}")
    try:
        if path.suffix == ".safetensors" or head[8:10] == b'{"':
            return load_file(path)
        with torch.serialization.safe_globals(_SAFE):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if code := re.search(r"GLOBAL ([\w.]+)", reason):
            raise ValueError(
                f"checkpoint {place} holds pickled code ({code[1]}) and is refused: where "
                "you trust it, save its tensors alone by torch.save(state_dict, file)"
            ) from error
        raise ValueError(_broken(path, reason)) from error
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise ValueError(_broken(path, error)) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ValueError(f"checkpoint {place} must hold a dict of weights, got a {kind}")
    return content


class _Results(pickle.Unpickler):
    """Tensors, arrays and plain values; nothing else of a pickle is made or called."""

    taken = {f"{one.__module__}.{one.__qualname__}": one for one in (*_NUMPY, OrderedDict)}
    taken["torch._utils._rebuild_tensor_v2"] = torch._utils._rebuild_tensor_v2
    taken["torch.storage._load_from_bytes"] = lambda content: torch.load(
        io.BytesIO(content), weights_only=True
    )
    taken["_codecs.encode"] = lambda text, encoding: text.encode("latin1")  # of bytes

    def find_class(self, module: str, name: str):
        if (found := self.taken.get(f"{module}.{name}")) is None:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return found


def read_results(path: str | Path) -> list:
    """The predictions that the hosts' Dump metrics wrote, without running code.

    Raises:
        ValueError: No such pickle, or one that holds something else.
    """
    try:
        with open(path, "rb") as file:
            return _Results(file).load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise ValueError(
            f"{path} holds no predictions of tools/test.py --out or of a study ({error}): make "
            "them again"
        ) from error


def _what_else(head: bytes) -> str | None:
    """What a file is that is no checkpoint, and what to do; None where it may be one.

    Args:
        head: The beginning of the file.
    """
    if head and 0 not in head:  # every checkpoint has zeros near its beginning
        start = head.lstrip()
        if start.startswith(b"<"):
            return (
                "a web page, not a checkpoint: the download failed, or needs a login; get the file "
                "again"
            )
        if start.startswith(b"version https://git-lfs"):
            return (
                "a pointer of Git LFS, not the file itself: run `git lfs pull` where it was cloned"
            )
        if _is_text(head):
            kind = "a JSON file" if start[:1] in (b"{", b"[") else "a text file"
            return f"{kind}, not a checkpoint: name the file of the weights"
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        return "compressed: unpack it, and name what is in it"
    if head[:1] == b"\x80" and _MAGIC not in head[:40] and head[8:10] != b'{"':
        return (
            "a pickle that torch.save did not write, and is refused, because unpickling runs code: "
            "where you trust it, save its tensors by torch.save(state_dict, file)"
        )
    return None


def _is_text(head: bytes) -> bool:
    try:
        return not re.search(r"[\x00-\x08\x0e-\x1f]", head[:-4].decode() or head.decode())
    except UnicodeDecodeError:
        return False


def _broken(path: Path, reason) -> str:
    # what torch says first is advice to unpickle
    lines = str(reason).partition("WeightsUnpickler error: ")[2] or str(reason)
    first_line = (lines.strip().splitlines() or ["empty"])[0][:120]
    strange = ("Weights only load failed", "Unsupported operand")
    if "TorchScript" in str(reason) or first_line.startswith(strange):
        first_line = "not made by torch.save(weights, file), or with a pickle_protocol but 2"
    return (
        f"checkpoint {path} ({path.stat().st_size} bytes) is truncated or no checkpoint "
        f"({first_line}): get the file again, or save its weights by torch.save"
    )


def load_from_read_checkpoint(filename: str, map_location=None) -> dict:
    """`read_checkpoint` as a loader of mmengine's; what is on the CPU is moved by who takes it."""
    return read_checkpoint(filename)


def let_hosts_read_safely():
    """From now on mmengine, and so every host, reads checkpoints by `read_checkpoint`.

    `load_from`, `resume` and `init_cfg=dict(type='Pretrained')` unpickle otherwise. Other storage
    (Ceph, PAVI) is refused.
    """
    others = (r"(\S+\:)?s3://", r"(\S+\:)?petrel://", "pavi://", "modelzoo://", "mmcls://")
    CheckpointLoader.register_scheme(("", *ADDRESSES, *others), load_from_read_checkpoint, True)


def find_state_dict(checkpoint: dict) -> dict[str, Tensor]:
    """The weights within what training tools wrap around them, without `module.`.

    Where a file holds several networks, the averaged one is taken, and that is logged.

    Raises:
        ValueError: No tensors, or wrappers around themselves.
    """
    seen = []
    while held := [name for name in _WRAPPERS if isinstance(checkpoint.get(name), dict)]:
        if any(checkpoint is wrapper for wrapper in seen):
            raise ValueError(f"the checkpoint contains itself ({held[0]!r}): name another file")
        seen.append(checkpoint)
        if len(held) > 1:
            others = ", ".join(held[1:])
            print_log(f"the file holds {held[0]!r}, which is taken, and {others}", "current")
        checkpoint = checkpoint[held[0]]
    named = ((key, value) for key, value in checkpoint.items() if isinstance(key, str))
    weights = {key: value for key, value in named if torch.is_tensor(value)}
    weights.pop("n_averaged", None)  # of torch's AveragedModel
    if not weights:
        keys = some(map(str, checkpoint))
        raise ValueError(f"the checkpoint holds no tensors, its keys are {keys}: name another file")
    return {re.sub(r"^((module|_orig_mod)\.)+", "", key): v for key, v in weights.items()}
