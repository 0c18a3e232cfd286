import shutil

import cv2
import numpy as np
import pytest
import torch
from helpers import LeastModel, least_runner
from mmengine.runner import Runner
from torch import nn

from robustnet_mm.engine.hooks import CheckedImagesHook
from robustnet_mm.weights.files import read_checkpoint


def weights(runner):
    return torch.cat([p.detach().flatten() for p in runner.model.parameters()])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("seed", [3, None])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, workers, seed):
    whole = least_runner(tmp_path / "whole", 3, workers=workers, seed=seed)
    whole.train()
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts/last_checkpoint").write_text(str(tmp_path / "parts/epoch_1.pth"))
    torch.randn(5)  # another random state than at the interruption
    resumed = least_runner(tmp_path / "parts", 3, resume=True, workers=workers, seed=seed)
    resumed.train()
    assert resumed.iter == whole.iter == 9
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("schedule", [dict(type="OneCycleLR", eta_max=0.1, total_steps=9), None])
def test_what_a_training_saves_is_read_again_without_running_code(tmp_path, schedule):
    runner = least_runner(tmp_path, 1)
    runner.param_schedulers = schedule and [dict(**schedule, by_epoch=False)]
    runner.train()
    saved = read_checkpoint(tmp_path / "epoch_1.pth")
    assert {"state_dict", "optimizer", "message_hub", "meta"} <= saved.keys()


def test_epochs_differ_in_their_random_numbers(tmp_path):
    runner, seen = least_runner(tmp_path, 2), []
    hook = next(h for h in runner.hooks if type(h).__name__ == "EpochSeedHook")
    for epoch in (0, 1, 0):
        runner.train_loop._epoch = epoch
        hook.before_train_epoch(runner)
        seen.append(torch.randn(3))
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[1])


def test_a_nan_loss_stops_the_training_and_keeps_the_last_good_checkpoint(tmp_path):
    runner = least_runner(tmp_path, 3, bad_at=5)
    with pytest.raises(ValueError, match=r"not finite at iteration 5 \(epoch 2\).*epoch_1.pth"):
        runner.train()
    assert (tmp_path / "epoch_1.pth").is_file() and not (tmp_path / "epoch_2.pth").exists()
    good = torch.load(tmp_path / "epoch_1.pth", weights_only=False)["state_dict"]
    assert all(value.isfinite().all() for value in good.values())


def test_no_checkpoint_of_ruined_weights_is_written(tmp_path):
    runner = least_runner(tmp_path, 1)

    class Ruin(type(runner.hooks[0]).__mro__[1]):
        def after_train_iter(self, runner, *args, **kwargs):
            nn.init.constant_(runner.model.fc.bias, float("inf"))

    runner.register_hook(Ruin())
    with pytest.raises(ValueError, match="are not finite.*fc.bias|is not finite"):
        runner.train()
    assert not list(tmp_path.glob("*.pth"))


def folder_runner(tmp_path, on_error, cut):
    """A classification runner on six JPEGs, the `cut` first of which are truncated."""
    for name in ("train", "val"):
        (tmp_path / name / "0").mkdir(parents=True)
        for k in range(6):
            noise = np.random.default_rng(k).integers(0, 256, (32, 32, 3), np.uint8)
            content = cv2.imencode(".jpg", noise)[1].tobytes()
            broken = k < cut and (name == "train" or on_error == "raise")
            path = tmp_path / name / "0" / f"{k}.jpg"
            path.write_bytes(content[: len(content) // 2] if broken else content)
    pipeline = [dict(type="LoadImageFromFile"), dict(type="mmpretrain.PackInputs")]

    def loader(name):
        folder = dict(data_root=str(tmp_path / name), pipeline=pipeline)
        inner = dict(type="mmpretrain.CustomDataset", **folder)
        return dict(
            batch_size=2,
            num_workers=0,
            dataset=dict(type="RepeatDataset", times=1, dataset=inner),
            sampler=dict(type="DefaultSampler", shuffle=False),
        )

    return Runner(
        LeastModel(),
        str(tmp_path / "work"),
        train_dataloader=loader("train"),
        test_dataloader=loader("val"),
        test_cfg=dict(),
        test_evaluator=dict(type="robustnet_mm.TowerAccuracy"),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_hooks=dict(images=dict(type="robustnet_mm.CheckedImagesHook", on_error=on_error)),
        default_scope="mmpretrain",
        experiment_name=f"{tmp_path.name}{on_error}{cut}",
    )


def test_a_truncated_image_is_an_error_that_names_it(tmp_path):
    runner = folder_runner(tmp_path, "raise", cut=1)
    with pytest.raises(ValueError, match="0/0.jpg is broken"):
        runner.train()
    with pytest.raises(ValueError, match="val/0/0.jpg is broken"):
        runner.test()


def test_truncated_images_are_skipped_and_counted_on_request(tmp_path):
    runner = folder_runner(tmp_path, "skip", cut=2)
    seen = []
    runner.model.train_step = lambda data, optim_wrapper: (
        seen.extend(sample.img_path for sample in data["data_samples"])
        or dict(loss=torch.zeros(()))
    )
    runner.train()
    assert len(seen) == 6 and not any(path.endswith(("/0.jpg", "/1.jpg")) for path in seen)
    (log,) = (tmp_path / "work").rglob("*.log")
    assert "LoadImage skipped 2 image(s)" in log.read_text()


def test_an_unknown_way_with_broken_images_is_named():
    with pytest.raises(ValueError, match="on_error must be one of raise, skip, got 'drop'"):
        CheckedImagesHook("drop")
