"""What docs/reliability.md promises of a run that is stopped in the middle, by running it.

The runs are children that this process forks: they start at once, and may be killed.
"""

import os
import resource
import signal
import sys
import time
import traceback
from multiprocessing import get_context

import pytest
import torch
from helpers import free_port, least_runner
from mmengine.config import Config
from mmengine.hooks import Hook

from robustnet_mm.engine import launch
from robustnet_mm.weights.files import read_checkpoint


def begin(function, tmp_path, *args):
    """A child that runs `function(*args)`: what it says stands in <tmp_path>/said."""

    def run():
        with open(tmp_path / "said", "w") as said:
            sys.stdout = sys.stderr = said
            os.dup2(said.fileno(), 2)
            try:
                function(*args)
            except Exception:
                traceback.print_exc()
                raise

    process = get_context("fork").Process(target=run, daemon=True)
    process.start()
    return process


def ended(process, tmp_path):
    """(exit status, what it said)"""
    process.join(60)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode, (tmp_path / "said").read_text()


def run_in(folder, launcher="none"):
    return Config(dict(work_dir=str(folder), launcher=launcher))


def checkpoints(folder):
    return sorted(path.name for path in folder.glob("*.pth"))


def train(folder, killed_at=None, **changes):
    """Train, and die within the writing of a checkpoint."""
    whole, number = os.fsync, iter(range(1, 99))
    os.fsync = lambda f: os.kill(os.getpid(), 9) if next(number) == killed_at else whole(f)
    with launch.alone_in(run_in(folder)):
        least_runner(folder, 4, max_keep_ckpts=1, **changes).train()


def test_a_training_killed_while_it_writes_its_only_checkpoint_goes_on_from_the_one_before(
    tmp_path,
):
    work = tmp_path / "work"
    status, said = ended(begin(train, tmp_path, work, 3), tmp_path)
    assert status == -signal.SIGKILL, said
    assert checkpoints(work) == ["epoch_2.pth"] and list(work.glob(".epoch_3.pth.*.part"))
    resumed = begin(lambda: train(work, resume=True), tmp_path)
    status, said = ended(resumed, tmp_path)
    assert status == 0 and "resumed epoch: 2" in said, said
    assert checkpoints(work) == ["epoch_4.pth"] and not list(work.rglob(".*.part"))


class Fill(Hook):
    """After the first epoch there is room for logs and not for a checkpoint."""

    priority = "VERY_HIGH"

    def after_train_epoch(self, runner):
        if runner.epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path):
    def fill():
        runner = least_runner(tmp_path / "work", 4, max_keep_ckpts=1)
        runner.model.register_buffer("large", torch.zeros(30_000))
        runner.register_hook(Fill())
        runner.train()

    status, said = ended(begin(fill, tmp_path), tmp_path)
    last = tmp_path / "work/epoch_1.pth"
    assert status == 1 and f"the last good one is {last}. Make room, then go on" in said, said
    assert checkpoints(last.parent) == ["epoch_1.pth"] and not list(last.parent.glob(".epoch*"))
    assert read_checkpoint(last)["meta"]["epoch"] == 1


def test_the_second_training_in_a_work_directory_is_told_until_the_first_is_dead(tmp_path):
    def hold():
        with launch.alone_in(run_in(tmp_path)):
            (tmp_path / "held").touch()
            time.sleep(60)

    first = begin(hold, tmp_path)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(
        ValueError, match=rf"runs in work_dir .*\(process {first.pid} on .*by --work"
    ):
        with launch.alone_in(run_in(tmp_path)):
            pass
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with launch.alone_in(run_in(tmp_path)):  # what is left of the lock's file holds nobody
        pass


def test_every_process_of_no_launcher_is_a_training_of_its_own(tmp_path, monkeypatch):
    """As the tasks of an `srun` of single trainings are."""
    monkeypatch.setenv("SLURM_PROCID", "1")
    with launch.alone_in(run_in(tmp_path)):
        assert (tmp_path / ".training.lock").exists()
    with launch.alone_in(run_in(tmp_path / "other", "slurm")):  # the second of its run
        assert not (tmp_path / "other").exists()


def test_only_parts_of_checkpoints_of_this_very_folder_are_swept(tmp_path):
    mine, kept = tmp_path / ".epoch_1.pth.12.part", tmp_path / "deeper/.epoch_1.pth.12.part"
    others = [kept, tmp_path / ".notes.12.part", tmp_path / "...part"]
    kept.parent.mkdir()
    for path in (mine, *others):
        path.touch()
    (tmp_path / ".epoch_2.pth.12.part").mkdir()
    with launch.alone_in(run_in(tmp_path)):
        assert not mine.exists() and all(path.exists() for path in others)


def test_a_frozen_process_is_waited_for_as_long_as_the_config_says_and_then_told(tmp_path):
    cfg = Config(dict(launcher="pytorch", env_cfg=dict(dist_cfg=dict(timeout=2))))
    port = str(free_port())

    def work(rank):
        os.environ |= dict(
            RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port
        )
        with launch.telling_who_is_lost(cfg):
            launch.distribute_on_cpu(cfg)
            torch.distributed.barrier()
            if rank == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            torch.distributed.all_reduce(torch.ones(1))

    (tmp_path / "1").mkdir()
    frozen = begin(work, tmp_path / "1", 1)
    try:
        status, said = ended(begin(work, tmp_path, 0), tmp_path)
    finally:
        os.kill(frozen.pid, signal.SIGKILL)
    assert status == 1 and "process 0 waited for another process of this run" in said, said
    assert "env_cfg.dist_cfg.timeout=2 seconds" in said
