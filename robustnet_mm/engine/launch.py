"""From a config file to a Runner: what tools/train.py and tools/test.py share."""

import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from robustnet_mm.engine.checks import check_config
from robustnet_mm.ops.place import provide
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
    """The config with the command line's changes, and a `work_dir`; mmcv's operators stand ready.

    Raises:
        FileNotFoundError: No such config.
    """
    if not Path(args.config).is_file():
        raise FileNotFoundError(f"config {args.config} does not exist: name a file under configs/")
    provide()  # before a host is imported
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
    check_config(cfg, splits)
    start = _read_start(cfg)
    if cfg.launcher == "pytorch" and not torch.cuda.is_available():
        _distribute_on_cpu(cfg)
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    if start is not None and isinstance(runner.model, torch.nn.Module):  # FlexibleRunner: not yet
        _check_fit(runner.model, start, bool(cfg.get("resume")))
    return runner


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


def _check_fit(model: torch.nn.Module, checkpoint: dict, resume: bool = False):
    """`load_from` takes what fits: refuse a file that hardly does, from another architecture.

    What is resumed must fit to the last key: fresh parts in the middle of a schedule would learn
    at the rate, and with the optimiser's state, of trained ones.
    """
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
    bad = [k for k, v in found.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise ValueError(
            f"load_from or resume names a checkpoint with weights that are not finite ({some(bad)})"
            ": the training that wrote it had diverged, name an earlier one"
        )
    other = [
        f"{key} {tuple(found[key].shape) if key in found else 'missing'}, here {tuple(value.shape)}"
        for key, value in own.items()
        if key not in found or found[key].shape != value.shape
    ]
    if resume and other:
        raise ValueError(
            f"a training is resumed with the model of its checkpoint, but {len(other)} tensors are "
            f"others: {some(other, 3)}. Put num_classes and the rest of the model back, or start a "
            "new training from these weights: load_from=FILE, no --resume, another --work-dir"
        )


def how_to_resume(work_dir: str) -> str:
    """What to do with a training that was stopped."""
    newest = Path(work_dir) / "last_checkpoint"
    if not newest.is_file():
        return f"there is no checkpoint in {work_dir} yet, start the training again"
    return f"the same command with --resume goes on from {newest.read_text().strip()}"


@contextmanager
def ending_on_interrupt(next_step: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C ends the process in one line, with the shell's status of an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        if int(os.environ.get("RANK", 0)) == 0:
            sys.stderr.write(f"\ninterrupted: {next_step()}\n")
        if torch.distributed.is_initialized():  # the others may wait for this process
            sys.stderr.flush()
            os._exit(130)
        sys.exit(130)


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
