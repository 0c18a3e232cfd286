"""Weight files from elsewhere: those of a model of timm by its name, and those at an address."""

import hashlib
import logging
import os
import re
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import torch
from huggingface_hub import hf_hub_download
from mmengine.dist import barrier
from mmengine.logging import print_log
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_torchvision_models,
)
from timm.models import get_pretrained_cfg
from torch.hub import download_url_to_file

from robustnet_mm.files import WholeFileBackend

_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
# how addresses may begin; the latter ones name a file in tables of mmengine's
ADDRESSES = ("http://", "https://", "torchvision://", "openmmlab://", "open-mmlab://")


@cache
def fetch(address: str) -> Path:
    """The file at an address, as a local one.

    A file whose name ends in its hash, as those of libraries do, is kept in torch's folder. Any
    other is fetched anew by each process and goes when the process ends: under the same address
    there may be another file tomorrow.

    Raises:
        ValueError: An address of another kind, or a name that mmengine does not know.
        ConnectionError: The download failed.
    """
    url = _url_of(address)
    try:
        name = Path(urlsplit(url).path).name or "checkpoint"
        hashed = _HASH.search(name)
        kept = Path(torch.hub.get_dir(), "checkpoints", name)
        if hashed and kept.is_file():
            return kept
        print_log(f"fetching {url}", "current")
        path = Path(tempfile.mkdtemp(dir=_own_folder().name), name)
        download_url_to_file(url, str(path), progress=False)
        if hashed and _keep(path, hashed[1], kept):
            return kept
    except Exception as error:  # every library below has its own errors
        raise ConnectionError(
            f"{address} could not be fetched ({error}): download {url} by hand and name the file"
        ) from error
    return path


def _keep(path: Path, digest: str, kept: Path) -> bool:
    """Keep a file for later runs if it is the one of its name, and there is a place to keep it."""
    content = path.read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(digest):
        message = f"the end of the name {path.name} is not the file's hash: the file is not kept"
        print_log(message, "current", logging.WARNING)
        return False
    try:
        WholeFileBackend().put(content, kept)
    except OSError as error:
        print_log(f"{path.name} cannot be kept for later runs ({error})", "current")
    return kept.is_file()


def _url_of(address: str) -> str:
    kind, _, name = address.partition("://")
    if f"{kind}://" not in ADDRESSES:
        raise ValueError(
            f"an address of weights must begin with one of {', '.join(ADDRESSES)}, got {address!r}:"
            " fetch the file to a disk and name its path"
        )
    if kind in ("http", "https"):
        return address
    known = get_torchvision_models() if kind == "torchvision" else get_external_models()
    if kind != "torchvision":
        name = get_deprecated_model_names().get(name, name)
    if name not in known:
        raise ValueError(f"mmengine knows no weights {address!r}: name the file's path or its URL")
    return known[name]


@cache
def _own_folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="robustnet_mm-")


def forget_fetched():
    """Remove what was fetched for this process alone; for those that end by `os._exit`."""
    _own_folder().cleanup()


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
