"""From a config file to a Runner: what tools/train.py and tools/test.py share."""

import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from robustnet_mm.datasets.checks import check_data
from robustnet_mm.models.towers import IMAGENET_NORM
from robustnet_mm.weight_files import find_state_dict, read_checkpoint, some


def add_common_arguments(parser: ArgumentParser):
    """The flags that the hosts' tools share."""
    parser.add_argument("--work-dir", help="folder of logs and checkpoints")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config, e.g. model.backbone.direction=none",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)


def read_config(args: Namespace) -> Config:
    """The config with the command line's changes, and a `work_dir`.

    Raises:
        FileNotFoundError: No such config.
    """
    if not Path(args.config).is_file():
        raise FileNotFoundError(f"config {args.config} does not exist: name a file under configs/")
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    return cfg


def build_runner(cfg: Config, splits: tuple[str, ...]) -> Runner:
    """Check what can be checked in a second, then build.

    Args:
        cfg: The config.
        splits: The data to check: 'train', 'val', 'test'.

    Raises:
        ValueError, FileNotFoundError: As the checks say.
    """
    if "train" in splits:
        _check_amp(cfg)
    check_normalization(cfg)
    check_data(cfg, splits)
    start = _read_start(cfg)
    if cfg.launcher == "pytorch" and not torch.cuda.is_available():
        _distribute_on_cpu(cfg)
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    if start is not None and isinstance(runner.model, torch.nn.Module):  # FlexibleRunner: not yet
        _check_fit(runner.model, start)
    return runner


def _check_amp(cfg: Config):
    if cfg.get("optim_wrapper", {}).get("type") == "AmpOptimWrapper":
        if not torch.cuda.is_available():
            raise ValueError(
                "optim_wrapper.type is AmpOptimWrapper (or --amp was given), which needs a GPU, "
                "and none is visible: leave --amp out, or set optim_wrapper.type=OptimWrapper"
            )


def check_normalization(cfg: Config):
    """`data_norm` of the backbone must say what the data preprocessor does."""
    model = cfg.get("model", {})
    backbone = model.get("backbone", {})
    if not str(backbone.get("type")).startswith("robustnet_mm."):
        return
    done = model.get("data_preprocessor") or cfg.get("data_preprocessor") or {}
    done = done.get("preprocessor", done)  # within a SizedDataPreprocessor
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


def _read_start(cfg: Config) -> dict | None:
    """A broken or missing checkpoint is found before the model and the data are built."""
    start = cfg.get("load_from")
    if cfg.get("resume") and start is None:
        start = find_latest_checkpoint(cfg.work_dir)
        if start is None:
            print_log(f"nothing to resume in {cfg.work_dir}: training starts anew", "current")
    if start is None or "://" in str(start):
        return None
    return read_checkpoint(start)


def _check_fit(model: torch.nn.Module, checkpoint: dict):
    """`load_from` takes what fits: refuse a file that hardly does, from another architecture."""
    model = model.module if is_model_wrapper(model) else model
    found, own = find_state_dict(checkpoint), model.state_dict()
    backbone = [key for key in own if key.startswith("backbone.")]
    fit = [key for key in backbone if key in found and found[key].shape == own[key].shape]
    if 2 * len(fit) < len(backbone):
        raise ValueError(
            f"load_from or resume names a checkpoint of another architecture: {len(fit)} of the "
            f"{len(backbone)} tensors of the backbone are in it (it holds {some(found, 3)}): check "
            "model.backbone, or load published networks by init_cfg=dict(type="
            "'robustnet_mm.PretrainedTower', ...) of each tower"
        )


def finish():
    """End a process of a distributed CPU run at once, when all have come this far.

    At an ordinary exit gloo's threads abort a process now and then, after its work is done.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        torch.distributed.barrier()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _distribute_on_cpu(cfg: Config):
    """Gloo instead of NCCL, and no GPU for what wraps the model."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    if cfg.get("strategy", {}).get("type") == "FSDPStrategy":
        cfg.strategy.model_wrapper.device_id = torch.device("cpu")
        if cfg.strategy.get("state_dict_cfg") == "full":
            # what is on the CPU and also to be moved there is freed before it is written
            cfg.strategy.state_dict_cfg = ConfigDict(
                state_dict_type="FULL_STATE_DICT",
                state_dict_config=dict(type="FullStateDictConfig", rank0_only=True),
                optim_state_dict_config=dict(type="FullOptimStateDictConfig", rank0_only=True),
            )
        return
    cfg.model_wrapper_cfg = ConfigDict(
        type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False
    )  # as mmengine has it on GPUs
