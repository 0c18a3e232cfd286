"""Files of weights: read without running code in them, unwrapped, and fetched when asked."""

import argparse
import os
import pickle
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from mmengine.dist import barrier
from mmengine.logging import HistoryBuffer, print_log
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from safetensors.torch import load_file
from timm.models import get_pretrained_cfg
from torch import Tensor

# What training tools wrap around the weights; where averaged weights are there, they are meant.
_WRAPPERS = ("state_dict_ema", "model_ema", "teacher", "state_dict", "model", "module")


def _named_method(owner, name: str):
    """What `getattr` may do in a file: mmengine's own objects name their own functions."""
    known = owner is HistoryBuffer or owner is OneCycleParamScheduler
    if not known or name.startswith("__"):
        raise pickle.UnpicklingError(f"Unsupported GLOBAL builtins.getattr of {owner}, {name}")
    return getattr(owner, name)


def _known_as(function, name: str):
    """`function` under the name that a file has for it; torch before 2.6 takes no such pairs."""
    alias = partial(function)
    alias.__module__, _, alias.__name__ = name.rpartition(".")
    alias.__qualname__ = alias.__name__
    return alias


# What training tools store beside the weights: mmengine its message hub, MAE and DeiT their args.
_SAFE = [
    argparse.Namespace,
    HistoryBuffer,
    OneCycleParamScheduler,
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,
    np._core.multiarray.scalar,
    *(getattr(np.dtypes, f"{name}DType") for name in ("Float64", "Float32", "Int64", "Bool")),
    _known_as(np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    _known_as(np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    _known_as(_named_method, "builtins.getattr"),
]


def some(keys: Iterable[str], most: int = 6) -> str:
    """The first keys in order, and how many more there are."""
    keys = sorted(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def read_checkpoint(path: str | Path) -> dict:
    """The whole file, tensors on CPU, without running code that it may carry.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Truncated, a web page, no checkpoint, or a pickle that asks for code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} does not exist: put the file there, or name another"
        )
    with path.open("rb") as file:
        if file.read(256).lstrip()[:1] == b"<":
            raise ValueError(
                f"checkpoint {path} is a web page, not a checkpoint: the download failed, or needs "
                "a login; get the file again"
            )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_SAFE):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if code := re.search(r"GLOBAL ([\w.]+)", reason):
            raise ValueError(
                f"checkpoint {path} holds pickled code ({code[1]}) and is refused: where "
                "you trust it, save its tensors alone by torch.save(state_dict, file)"
            ) from error
        raise ValueError(_broken(path, reason)) from error
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise ValueError(_broken(path, error)) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ValueError(f"checkpoint {path} must hold a dict of weights, got a {kind}")
    return content


def _broken(path: Path, reason) -> str:
    first_line = (str(reason).splitlines() or ["empty"])[0][:120]
    return (
        f"checkpoint {path} ({path.stat().st_size} bytes) is truncated or no checkpoint "
        f"({first_line}): get the file again"
    )


def find_state_dict(checkpoint: dict) -> dict[str, Tensor]:
    """The weights within what training tools wrap around them, without `module.`.

    Where a file holds several networks, the averaged one is taken, and that is logged.

    Raises:
        ValueError: No tensors.
    """
    while held := [name for name in _WRAPPERS if isinstance(checkpoint.get(name), dict)]:
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


def fetch_weights(model_name: str) -> Path:
    """The file of a model of timm: the one that is there, or downloaded now.

    One process of each machine downloads, the others wait.

    Args:
        model_name: timm's name; without a tag, timm's default weights of that name.

    Raises:
        ValueError: timm knows no weights of that name.
        ConnectionError: The download failed; the message says which file to put where.
    """
    cfg = get_pretrained_cfg(model_name)
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        raise ValueError(
            f"timm has no weights for {model_name!r}: name a tag of "
            f"timm.list_pretrained({model_name.partition('.')[0] + '*'!r}), or give checkpoint="
        )
    name = f"{cfg.architecture}.{cfg.tag}" if cfg.tag else cfg.architecture
    file_name = cfg.hf_hub_filename or "model.safetensors"
    path = Path(torch.hub.get_dir(), "checkpoints", name, file_name)
    if not cfg.hf_hub_id:
        path = path.with_name(cfg.url.rpartition("/")[2])
    failure = None
    if int(os.environ.get("LOCAL_RANK", 0)) == 0 and not path.is_file():
        print_log(f"downloading the weights of {name} to {path}", "current")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if cfg.hf_hub_id:
                hf_hub_download(cfg.hf_hub_id, file_name, local_dir=path.parent)
            else:
                torch.hub.download_url_to_file(cfg.url, str(path))
        except Exception as error:  # every library below has its own errors
            failure = error
    barrier()
    if not path.is_file():
        where = f"{cfg.hf_hub_id}/{file_name} of the Hugging Face hub" if cfg.hf_hub_id else cfg.url
        raise ConnectionError(
            f"the weights of {name} could not be downloaded ({failure or 'see the first process'}):"
            f" get {where} and put it to {path}, or give its path as checkpoint="
        ) from failure
    return path
