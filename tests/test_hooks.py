import os
import subprocess
import sys

import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from robustnet_mm.engine.hooks import WholeFileBackend


class Noise(Dataset):
    """Samples made from the global random state, as augmentations are."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.randn(4) + index / 6


class Model(nn.Module):
    def __init__(self, bad_at=None):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(4, 1)
        self.calls, self.bad_at = 0, bad_at

    def train_step(self, data, optim_wrapper):
        self.calls += 1
        x = torch.stack(data) if isinstance(data, list) else data
        loss = self.fc(torch.dropout(x, 0.5, True)).square().mean()
        if self.calls == self.bad_at:
            loss = loss * float("nan")
        optim_wrapper.update_params(loss)
        return dict(loss=loss)


def make_runner(work_dir, epochs, bad_at=None, resume=False, workers=0):
    loader = dict(
        batch_size=2,
        num_workers=workers,
        dataset=Noise(),
        collate_fn=dict(type="default_collate"),
        sampler=dict(type="DefaultSampler", shuffle=True),
    )
    return Runner(
        Model(bad_at),
        str(work_dir),
        train_dataloader=loader,
        resume=resume,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        randomness=dict(seed=3),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
        default_hooks=dict(
            checkpoint=dict(type="CheckpointHook", interval=1, backend_args=dict(backend="whole"))
        ),
        custom_hooks=[
            dict(type="robustnet_mm.EpochSeedHook"),
            dict(type="robustnet_mm.NaNGuardHook", interval=2),
        ],
        experiment_name=f"{work_dir.name}{epochs}{resume}",
    )


def weights(runner):
    return torch.cat([p.detach().flatten() for p in runner.model.parameters()])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, workers):
    whole = make_runner(tmp_path / "whole", 3, workers=workers)
    whole.train()
    make_runner(tmp_path / "parts", 1, workers=workers).train()
    torch.randn(5)  # another random state than at the interruption
    resumed = make_runner(tmp_path / "parts", 3, resume=True, workers=workers)
    resumed.train()
    assert resumed.iter == whole.iter == 9
    assert torch.equal(weights(whole), weights(resumed))


def test_epochs_differ_in_their_random_numbers(tmp_path):
    runner, seen = make_runner(tmp_path, 2), []
    hook = next(h for h in runner.hooks if type(h).__name__ == "EpochSeedHook")
    for epoch in (0, 1, 0):
        runner.train_loop._epoch = epoch
        hook.before_train_epoch(runner)
        seen.append(torch.randn(3))
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[1])


def test_a_nan_loss_stops_the_training_and_keeps_the_last_good_checkpoint(tmp_path):
    runner = make_runner(tmp_path, 3, bad_at=5)
    with pytest.raises(ValueError, match=r"not finite at iteration 5 \(epoch 2\).*epoch_1.pth"):
        runner.train()
    assert (tmp_path / "epoch_1.pth").is_file() and not (tmp_path / "epoch_2.pth").exists()
    good = torch.load(tmp_path / "epoch_1.pth", weights_only=False)["state_dict"]
    assert all(value.isfinite().all() for value in good.values())


def test_no_checkpoint_of_ruined_weights_is_written(tmp_path):
    runner = make_runner(tmp_path, 1)

    class Ruin(type(runner.hooks[0]).__mro__[1]):
        def after_train_iter(self, runner, *args, **kwargs):
            nn.init.constant_(runner.model.fc.bias, float("inf"))

    runner.register_hook(Ruin())
    with pytest.raises(ValueError, match="are not finite.*fc.bias|is not finite"):
        runner.train()
    assert not list(tmp_path.glob("*.pth"))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """A process killed in the middle of writing leaves the old file as it was."""
    target = tmp_path / "epoch_1.pth"
    WholeFileBackend().put(b"old", target)
    code = (
        "import os, sys; from robustnet_mm.engine import hooks; "
        "hooks.os.fsync = lambda fd: os.kill(os.getpid(), 9); "
        "hooks.WholeFileBackend().put(b'new' * 9999, sys.argv[1])"
    )
    process = subprocess.run([sys.executable, "-c", code, str(target)])
    assert process.returncode == -9 and target.read_bytes() == b"old"
    get_file_backend(target, backend_args=dict(backend="whole")).put(b"new", target)
    assert target.read_bytes() == b"new"


def test_a_failed_write_leaves_no_part_behind(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        WholeFileBackend().put(b"new", tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())
