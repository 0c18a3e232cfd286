"""From a config file to a Runner: what tools/train.py and tools/test.py share."""

import logging
import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.logging import print_log
from mmengine.registry import MODELS, RUNNERS
from mmengine.runner import FlexibleRunner, Runner

from robustnet_mm.arguments import arguments_of, check_number, nearest
from robustnet_mm.engine.checkpoints import folder_of, last_checkpoint
from robustnet_mm.engine.checks import check_config
from robustnet_mm.engine.start import check_fit, read_start
from robustnet_mm.files import locked, sweep
from robustnet_mm.ops.place import provide
from robustnet_mm.processes import is_first
from robustnet_mm.weights.downloads import forget_fetched
from robustnet_mm.weights.files import let_hosts_read_safely

PATIENCE = 1800  # seconds for which processes of a run wait for each other, unless a config says
# what tools, hosts and Runners read of a config beside the arguments of a Runner
_RUNNERS_OWN = (
    "activation_checkpointing",
    "auto_scale_lr",
    "compile",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "init_weights_for_test_or_val",
    "model_wrapper_cfg",
    "runner_type",
    "sync_bn",
    "tta_model",
    "tta_pipeline",
)


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
    parser.add_argument(
        "--allow-new-keys",
        action="store_true",
        help="let --cfg-options set a key that neither the config nor the Runner has",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)


def common_arguments(args: Namespace) -> dict:
    """What `add_common_arguments` took from the command line, for `read_config`."""
    names = ("config", "work_dir", "cfg_options", "allow_new_keys", "launcher", "local_rank")
    return {name: getattr(args, name) for name in names}


def read_config(
    config: str | Path,
    cfg_options: Mapping | None = None,
    work_dir: str | None = None,
    launcher: str = "none",
    local_rank: int = 0,
    allow_new_keys: bool = False,
) -> Config:
    """The config with the command line's changes, and a `work_dir`.

    mmcv's operators stand ready, and whatever checkpoint a host reads is read without running code.

    Raises:
        FileNotFoundError: No such config.
        ValueError: `cfg_options` set a key that nobody reads, and `allow_new_keys` is False.
    """
    if not Path(config).is_file():
        raise FileNotFoundError(f"config {config} does not exist: name a file under configs/")
    provide()  # before a host is imported
    let_hosts_read_safely()
    os.environ.setdefault("LOCAL_RANK", str(local_rank))
    cfg = Config.fromfile(config)
    if cfg_options and not allow_new_keys:
        _check_keys(cfg, cfg_options)
    cfg.merge_from_dict(cfg_options or {})
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get("work_dir") or f"work_dirs/{Path(config).stem}"
    return cfg


def _check_keys(cfg: Config, options: Mapping):
    """A misspelt key would be set, and read by nobody."""
    known = {*cfg, *_RUNNERS_OWN}
    for runner in (Runner, FlexibleRunner):
        known.update(arguments_of(runner))
    for key in options:
        name = key.partition(".")[0]
        if name not in known:
            hint = nearest(name, known)
            raise ValueError(
                f"--cfg-options sets {key}, and neither the config nor the Runner has {name!r}"
                f"{hint or '.'} A key that is meant to be new: --allow-new-keys"
            )


def build_runner(cfg: Config, splits: tuple[str, ...]) -> Runner:
    """Check what can be checked in a second, then build.

    Args:
        cfg: The config.
        splits: The data to check: 'train', 'val', 'test'.

    Raises:
        ValueError, FileNotFoundError: As the checks say.
    """
    check_config(cfg, splits)
    start = read_start(cfg)
    dist_cfg = cfg.setdefault("env_cfg", {}).setdefault("dist_cfg", dict(backend="nccl"))
    dist_cfg.setdefault("timeout", PATIENCE)
    check_number("env_cfg.dist_cfg.timeout", dist_cfg.timeout, 1)
    if cfg.launcher == "pytorch" and not torch.cuda.is_available():
        distribute_on_cpu(cfg)
    runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    if start is not None:
        _check_start(runner, start, bool(cfg.get("resume")))
    if cfg.launcher != "none":
        print_log(
            f"processes wait for each other for {dist_cfg.timeout} s at most "
            "(env_cfg.dist_cfg.timeout)",
            "current",
        )
    return runner


def _check_start(runner: Runner, start: dict, resume: bool):
    """FlexibleRunner makes its model late: there another one is made for the check, once."""
    if isinstance(runner.model, torch.nn.Module):
        check_fit(runner.model, start, resume)
    elif is_first(runner.cfg.launcher):
        with torch.random.fork_rng():  # other processes make none
            check_fit(MODELS.build(runner.model), start, resume)


def how_to_resume(work_dir: str) -> str:
    """What to do with a training that was stopped."""
    newest = last_checkpoint(work_dir)
    if newest is None:
        return f"there is no checkpoint in {work_dir} yet, start the training again"
    return f"the same command with --resume goes on from {newest}"


def make_work_dir(work_dir: str, option: str = "--work-dir") -> None:
    """Make the folder that `option` names, and see that it can be written.

    Raises:
        ValueError: It cannot.
    """
    try:
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=work_dir):
            pass
    except OSError as error:
        raise ValueError(
            f"work_dir {work_dir} cannot be written ({error}): name another by {option}"
        ) from error


@contextmanager
def alone_in(cfg: Config) -> Iterator[None]:
    """One training at a time in a work directory; what killed ones were writing is removed.

    Raises:
        ValueError: Another one runs there, or the folder cannot be written.
    """
    if not is_first(cfg.launcher):
        yield
        return
    make_work_dir(cfg.work_dir)
    with locked(Path(cfg.work_dir, ".training.lock"), "training"):
        for folder in {Path(cfg.work_dir), folder_of(cfg)}:
            sweep(folder)
        yield


@contextmanager
def telling_who_is_lost(cfg: Config) -> Iterator[None]:
    """Says what a failed wait means: another process of the run hangs, or has ended.

    It ends this process at once: torch's threads may wait for the lost one for ever.
    """
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
        if cfg.launcher == "none" or not lost:
            raise
        traceback.print_exc()
        rank, limit = os.environ.get("RANK", "?"), cfg.env_cfg.dist_cfg.timeout
        sys.stderr.write(
            f"\nprocess {rank} waited for another process of this run, which hangs or has ended: "
            "its own output says why. If it was only slow, allow more than "
            f"env_cfg.dist_cfg.timeout={limit} seconds; then go on by --resume\n"
        )
        sys.stderr.flush()
        os._exit(1)


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
            forget_fetched()
            os._exit(130)
        sys.exit(130)


def finish():
    """End a process of a distributed CPU run at once, when all have come this far.

    At an ordinary exit gloo's threads abort a process now and then, after its work is done.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        torch.distributed.barrier()
        logging.shutdown()
        forget_fetched()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def distribute_on_cpu(cfg: Config):
    """Join the other processes by gloo instead of NCCL, and wrap the model without a GPU."""
    if not torch.distributed.is_initialized():
        limit = timedelta(seconds=cfg.env_cfg.dist_cfg.timeout)
        torch.distributed.init_process_group("gloo", timeout=limit)
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
