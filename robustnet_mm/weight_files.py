"""Files of weights: read without running code in them, and unwrapped."""

import argparse
import copyreg
import io
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

from robustnet_mm.downloads import ADDRESSES, fetch

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


_NUMPY = (np.ndarray, np.dtype, np._core.multiarray._reconstruct, np._core.multiarray.scalar)
_History.__module__ = HistoryBuffer.__module__  # a file has mmengine's name for it
_History.__name__ = _History.__qualname__ = HistoryBuffer.__name__
# What training tools store beside the weights: mmengine its message hub, MAE and DeiT their args.
_SAFE = [
    argparse.Namespace,
    _History,
    OneCycleParamScheduler,
    *_NUMPY,
    *(getattr(np.dtypes, f"{name}DType") for name in ("Float64", "Float32", "Int64", "Bool")),
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
    path = fetch(str(place)) if "://" in str(place) else Path(place).expanduser()
    if path.is_dir():
        inside = some([file.name for file in path.glob("*.[ps][ta][hf]*")]) or "none"
        raise FileNotFoundError(
            f"checkpoint {place} is a folder: name a file in it, weight files there: {inside}"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {place} does not exist: put the file there, or name another"
        )
    if what := _what_else(path):
        raise ValueError(f"checkpoint {place} is {what}")
    try:
        if path.suffix == ".safetensors":
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


def _what_else(path: Path) -> str | None:
    """What a file is that is no checkpoint, and what to do; None where it may be one."""
    with path.open("rb") as file:
        head = file.read(4096)
    start = head.lstrip()
    if start.startswith(b"<"):
        return (
            "a web page, not a checkpoint: the download failed, or needs a login; get the file "
            "again"
        )
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself: run `git lfs pull` where it was cloned"
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        kind = "a JSON file" if start[:1] in b"{[" else "a text file"
        return f"{kind}, not a checkpoint: name the file of the weights"
    plain = path.suffix != ".safetensors" and head[:1] == b"\x80"
    if plain and b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." not in head[:20]:
        return (
            "a pickle that torch.save did not write, and is refused, because unpickling runs code: "
            "where you trust it, save its tensors by torch.save(state_dict, file)"
        )
    return None


def _broken(path: Path, reason) -> str:
    first_line = (str(reason).splitlines() or ["empty"])[0][:120]
    return (
        f"checkpoint {path} ({path.stat().st_size} bytes) is truncated or no checkpoint "
        f"({first_line}): get the file again"
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
    weights = {key: value for key, value in checkpoint.items() if torch.is_tensor(value)}
    weights.pop("n_averaged", None)  # of torch's AveragedModel
    if not weights:
        keys = some(map(str, checkpoint))
        raise ValueError(f"the checkpoint holds no tensors, its keys are {keys}: name another file")
    return {re.sub(r"^((module|_orig_mod)\.)+", "", key): v for key, v in weights.items()}
