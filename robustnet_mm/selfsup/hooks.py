"""What towers learn without labels, told while they learn it."""

import logging
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from robustnet_mm.arguments import check_number, check_whole
from robustnet_mm.models.probe import undisturbed
from robustnet_mm.registry import HOOKS

from .correlation import check_batch, cross_correlation, effective_rank, gathered, signs
from .features import extract
from .model import TwoTowerBarlowTwins
from .neighbours import knn_accuracy

SHOWN = 256  # channels of a correlation matrix on its picture


def project(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Of `TwoTowerBarlowTwins` or mmpretrain's BarlowTwins: (N, 3, H, W) -> tower -> (N, D)"""
    if isinstance(model, TwoTowerBarlowTwins):
        return model.project(images)
    return dict(tower=model.neck(model.backbone(images))[0])


def picture_of(correlation: Tensor) -> np.ndarray:
    """(D, D) in -1..1 -> (n, n, 3) uint8 RGB: white is 0, red 1, blue -1; the first channels."""
    value = correlation[:SHOWN, :SHOWN].clamp(-1, 1).cpu().numpy()
    red, blue = 1 - value.clip(max=0).__abs__(), 1 - value.clip(min=0)
    rgb = np.stack([red, np.minimum(red, blue), blue], axis=-1)
    return (255 * rgb).round().astype(np.uint8)


@HOOKS.register_module()
class RepresentationHook(Hook):
    """Progress without labels, and by neighbours where a labelled folder is given.

    Every `interval` iterations, and after the last, it logs for each tower the mean of the
    correlation's diagonal, the root mean square off it, and the effective rank of the projections
    of the batch at hand, all in eval mode; gives the visualizer the correlation matrix as a picture
    (`vis_image/correlation_<tower>_<iteration>.png`); and logs `knn`, the accuracy of the nearest
    neighbours of the backbone's vectors. A rank below `least_rank` is named a collapse.

    Args:
        memory: Config of a dataloader of mmpretrain whose labels are known; None for no neighbours.
        query: The same, of the images that the neighbours name.
        interval: Iterations.
        k: Number of neighbours.
        least_rank: Of the projections.

    Raises:
        ValueError: Only one of `memory` and `query`.
    """

    priority = "NORMAL"  # before the log is written

    def __init__(
        self,
        memory: Mapping | None = None,
        query: Mapping | None = None,
        interval: int = 1000,
        k: int = 20,
        least_rank: float = 2.0,
    ):
        if (memory is None) != (query is None):
            raise ValueError(
                "memory and query must be two dataloaders or none, got one of them: neighbours "
                "need images to be asked, and images to be found"
            )
        check_whole("interval", interval, 1)
        check_whole("k", k, 1)
        check_number("least_rank", least_rank)
        self.configs = None if memory is None else (dict(memory), dict(query))
        self.interval, self.k, self.least_rank = interval, k, least_rank

    def before_train(self, runner):
        """Labelled folders are looked for before anything is trained, and two images a batch.

        Raises:
            ValueError: A batch of one, which BatchNorm refuses without naming it.
        """
        batch = getattr(runner.train_dataloader, "batch_size", None)
        if batch is not None:
            check_batch(batch * get_world_size())
        self.loaders = self.configs and [Runner.build_dataloader(cfg) for cfg in self.configs]
        if self.loaders:
            check_whole("k", self.k, 1, len(self.loaders[0].dataset), ", the images of memory")

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Tell, where it is time; model and random state are as before."""
        last = self.is_last_train_iter(runner)
        if last or self.every_n_train_iters(runner, self.interval):
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            with torch.random.fork_rng():  # a loader draws a seed for its workers
                self._tell(runner, model, data_batch)

    def _tell(self, runner, model: nn.Module, data_batch):
        told = {}
        with undisturbed(model), torch.no_grad():
            views = model.data_preprocessor(data_batch, False)["inputs"]
            one, other = (project(model, view) for view in views)
            for name in one:
                correlation = cross_correlation(one[name], other[name])
                rank = effective_rank(gathered(one[name]))
                told |= {f"{name}_{sign}": value for sign, value in signs(correlation).items()}
                told[f"{name}_rank"] = rank
                self._warn(name, float(rank), correlation.size(0))
                runner.visualizer.add_image(
                    f"correlation_{name}", picture_of(correlation), step=runner.iter + 1
                )
        if self.loaders:
            parts = model.backbone, model.data_preprocessor
            (train, labels), (test, wanted) = (extract(*parts, each) for each in self.loaders)
            for name in train:
                told[f"{name}_knn"] = knn_accuracy(train[name], labels, test[name], wanted, self.k)
        told = {f"representation/{name}": float(value) for name, value in told.items()}
        runner.visualizer.add_scalars(told, step=runner.iter + 1)
        text = ", ".join(f"{name.partition('/')[2]} {value:.4g}" for name, value in told.items())
        runner.logger.info(f"representation at iteration {runner.iter + 1}: {text}")

    def _warn(self, name: str, rank: float, channels: int):
        if rank < self.least_rank:
            print_log(
                f"{name} has collapsed: its projections have an effective rank of {rank:.2f} of "
                f"{channels}: lower the learning rate, lengthen the warm-up, or enlarge the batch",
                "current",
                logging.WARNING,
            )
