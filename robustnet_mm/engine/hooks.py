"""Hooks that keep a training exact, and stop it where it goes wrong."""

import random
from functools import partial

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import worker_init_fn
from mmengine.dist import broadcast, get_rank
from mmengine.hooks import Hook

from robustnet_mm.arguments import check_whole
from robustnet_mm.datasets.loading import LoadImage
from robustnet_mm.engine.checkpoints import last_checkpoint
from robustnet_mm.registry import HOOKS
from robustnet_mm.weights.load import is_finite


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds every epoch by its number, so that a resumed training repeats an uninterrupted one.

    mmengine restores weights, optimiser and sampler, but not the random state of augmentation,
    drop path and mixup, and gives non-persistent workers the same seed in every epoch.
    Persistent workers keep the random state of their first epoch: with them a resumed training
    sees the same images in the same order under other augmentations.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner):
        """Seed python, numpy and torch from (seed of the run, epoch, rank)."""
        sequence = np.random.SeedSequence([runner.seed, runner.epoch, get_rank()])
        seed, worker_seed = (int(word) >> 1 for word in sequence.generate_state(2))
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        loader = runner.train_dataloader
        common = torch.tensor(runner.seed)  # of a resumed training: its checkpoint's
        broadcast(common)
        for sampler in (loader.sampler, getattr(loader.batch_sampler, "sampler", None)):
            if hasattr(sampler, "seed"):
                sampler.seed = int(common)
        if loader.num_workers > 0:
            loader.worker_init_fn = partial(
                worker_init_fn, num_workers=loader.num_workers, rank=0, seed=worker_seed
            )


@HOOKS.register_module()
class ValidateResumedHook(Hook):
    """Validates first what a resumed training starts from.

    mmengine writes an epoch's checkpoint before it validates it: a training that was killed in
    between would go on without that epoch's figures, or end without the last ones.
    """

    def before_train(self, runner):
        if runner.epoch and runner.epoch % runner.train_loop.val_interval == 0:
            runner.val_loop.run()


@HOOKS.register_module()
class NaNGuardHook(Hook):
    """Stops a training whose loss is no finite number, before a checkpoint of it is written.

    Args:
        interval: Iterations between two looks at the losses; each look waits for the GPU. The
            first bad iteration is named whenever it is seen.
    """

    priority = "VERY_HIGH"

    def __init__(self, interval: int = 10):
        check_whole("interval", interval, 1)
        self.interval = interval
        self._first_bad = None  # iteration number as a tensor where the loss lies, -1 if none

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Note the first bad iteration without waiting for the device; look now and then."""
        loss = outputs["loss"].detach()
        if self._first_bad is None:
            self._first_bad = torch.full((), -1, dtype=torch.long, device=loss.device)
        bad_now = ~torch.isfinite(loss).all() & (self._first_bad < 0)
        self._first_bad = torch.where(bad_now, runner.iter + 1, self._first_bad)
        if self.every_n_train_iters(runner, self.interval) or loss.device.type == "cpu":
            self._stop_if_bad(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict):
        """No checkpoint of a diverged training is ever written."""
        self._stop_if_bad(runner)
        plain = {k: v for k, v in checkpoint["state_dict"].items() if type(v) is torch.Tensor}
        bad = [k for k, v in plain.items() if not is_finite(v)]  # shards cannot be asked
        if bad:
            self._stop(runner, f"weights are not finite at iteration {runner.iter}: {bad[:3]}")

    def _stop_if_bad(self, runner):
        if self._first_bad is not None and (iteration := int(self._first_bad)) >= 0:
            self._stop(runner, f"the loss is not finite at iteration {iteration}")

    def _stop(self, runner, what: str):
        last = last_checkpoint(runner.work_dir) or "none was written yet"
        raise ValueError(
            f"{what} (epoch {runner.epoch + 1}): training stops; last good checkpoint: {last}. "
            "Lower the learning rate, lengthen the warm-up, clip gradients, or look at the data"
        )


@HOOKS.register_module()
class CheckedImagesHook(Hook):
    """Gives broken images to `LoadImage`, where the hosts read a truncated JPEG as grey in silence.

    It takes the place of the hosts' `LoadImageFromFile` in the built pipelines, and leaves the
    config as it is: their inferencers look for that name.

    Args:
        on_error: 'raise' or 'skip' in training; a test always raises.
    """

    def __init__(self, on_error: str = "raise"):
        self.on_error = LoadImage(on_error).on_error

    def before_train(self, runner):
        key = _key_in(runner.cfg)
        setting = f"--cfg-options {key}.on_error=skip" if key else None
        _check_images(runner.train_dataloader.dataset, self.on_error, setting)

    def before_val(self, runner):
        _check_images(runner.val_dataloader.dataset, "raise")

    def before_test(self, runner):
        _check_images(runner.test_dataloader.dataset, "raise")


def _key_in(cfg) -> str | None:
    """Where a config has the `CheckedImagesHook`, under the user's own name for it."""
    default, custom = cfg.get("default_hooks") or {}, cfg.get("custom_hooks") or []
    places = [(f"default_hooks.{name}", hook) for name, hook in default.items()]
    places += [(f"custom_hooks.{index}", hook) for index, hook in enumerate(custom)]
    for key, hook in places:
        if isinstance(hook, dict) and str(hook.get("type")).endswith("CheckedImagesHook"):
            return key
    return None


def _check_images(dataset, on_error: str, setting: str | None = None):
    """Replace the loading in a dataset's pipeline, inside wrappers too."""
    for inner in (getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())):
        if inner is not None:
            _check_images(inner, on_error, setting)
    steps = getattr(getattr(dataset, "pipeline", None), "transforms", [])
    for index, step in enumerate(steps):
        if type(step) is LoadImageFromFile:
            names = ("to_float32", "color_type", "imdecode_backend", "backend_args")
            steps[index] = LoadImage(on_error, **{name: getattr(step, name) for name in names})
            steps[index].skipped_by = setting
