"""One cell of a sweep: a built model measured on the images of a config under one corruption."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from robustnet_mm.datasets.checks import leaf_datasets
from robustnet_mm.engine.backbones import load_model
from robustnet_mm.engine.checks import check_config
from robustnet_mm.engine.launch import read_config
from robustnet_mm.engine.metrics import HEADS
from robustnet_mm.hosts import host_of


class Cell(NamedTuple):
    """Clean images are ('clean', 0)."""

    corruption: str
    severity: int

    @property
    def name(self) -> str:
        return f"{self.corruption}-{self.severity}" if self.severity else self.corruption


CLEAN = Cell("clean", 0)


@dataclass(frozen=True)
class Measurement:
    """What a cell depends on beside its corruption.

    Args:
        config: Config file; its test data are corrupted, right after they are read, or, where a
            host's test pipeline cuts every image to one size, after that, as ImageNet-C is made.
        checkpoint: The weights, which must fit to the last key.
        seed: Of what corruptions draw.
        cfg_options: Changes of the config.
        cache_dir: See `Corrupt`.
    """

    config: str
    checkpoint: str
    seed: int = 0
    cfg_options: dict | None = None
    cache_dir: str | None = None

    def digest(self) -> str:
        """Of the weights, and of what the config says of model, test data and metrics."""
        cfg = read_config(self.config, self.cfg_options)
        parts = [cfg.get(name) for name in ("model", "data_preprocessor", "test_evaluator")]
        said = repr((*parts, cfg.test_dataloader.dataset, self.seed)).encode()
        weights = Path(self.checkpoint).expanduser().read_bytes()
        return sha256(said + weights).hexdigest()[:16]


class RightImages(BaseMetric):
    """Which images a classifier's heads were right on, in order; measures nothing itself."""

    default_prefix = "right"

    def __init__(self):
        super().__init__()
        self.right, self.images = {}, ""

    def process(self, data_batch, data_samples: Sequence[dict]):
        """Keep a 1 or a 0 for each sample and head."""
        for sample in data_samples:
            label, found = sample.get("gt_label"), {}
            if label is not None and label.numel() == 1:  # and not one of several labels
                for suffix, field in HEADS.items():
                    if field in sample:
                        found[f"top1{suffix}"] = int(sample[field].argmax()) == int(label)
            place = Path(str(sample.get("img_path"))).name
            self.results.append((f"{place} {label}", found))

    def compute_metrics(self, results: list[dict]) -> dict:
        """Sets `right`, head -> a word of 0 and 1, and `images`, a digest of files and labels."""
        names, hits = zip(*results, strict=True)
        self.right = {head: "".join(str(int(one[head])) for one in hits) for head in hits[0]}
        self.images = sha256("\n".join(names).encode()).hexdigest()[:16]
        return {}


class Bench:
    """A built model that is measured on any cell.

    Args:
        measurement: Of what.
    """

    def __init__(self, measurement: Measurement):
        self.cfg = read_config(measurement.config, measurement.cfg_options)
        self.host, self.measurement = host_of(self.cfg, of_images=True), measurement
        init_default_scope(self.cfg.default_scope)
        check_config(self.cfg, ("test",))
        self.model = load_model(self.cfg, measurement.checkpoint)
        self.model.to(get_device()).eval()

    @torch.no_grad()
    def __call__(self, cell: Cell) -> dict:
        """`metrics`, the config's own, and `right`, which of the images a classifier named."""
        cfg = deepcopy(self.cfg.test_dataloader)
        if cell != CLEAN:
            add_corruption(cfg, cell, self.measurement, after_all=self.host.cuts)
        loader = Runner.build_dataloader(cfg)
        metrics = deepcopy(self.cfg.test_evaluator)
        metrics = metrics if isinstance(metrics, list) else [metrics]
        evaluator = Evaluator([*metrics, right := RightImages()])
        evaluator.dataset_meta = loader.dataset.metainfo
        for batch in loader:
            samples = self.model.test_step(batch)
            evaluator.process(data_samples=samples, data_batch=batch)
        found = evaluator.evaluate(len(loader.dataset))
        numbers = {name: float(value) for name, value in found.items() if _is_number(value)}
        return dict(metrics=numbers, right=right.right, images=right.images)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) or getattr(value, "ndim", 1) == 0


def add_corruption(loader: Config, cell: Cell, measurement: Measurement, after_all: bool) -> None:
    """A step in the pipeline of every dataset of a loader, changed in place.

    Args:
        loader: Config of a dataloader.
        cell: What is added.
        measurement: Gives the seed and the cache.
        after_all: As the last step before the samples are packed, and not right after the image is
            read.
    """
    step = dict(
        type="robustnet_mm.Corrupt",
        corruption=cell.corruption,
        severity=cell.severity,
        seed=measurement.seed,
        cache_dir=measurement.cache_dir,
    )
    for key, dataset in leaf_datasets(loader.dataset, "test_dataloader.dataset"):
        kinds = [str(each["type"]).rpartition(".")[2] for each in dataset.get("pipeline") or ()]
        wanted = "Pack" if after_all else "LoadImage"
        places = [place for place, kind in enumerate(kinds) if kind.startswith(wanted)]
        if not places:
            raise ValueError(
                f"{key}.pipeline must have a step {wanted}..., where images are corrupted, got "
                f"{kinds}"
            )
        dataset["pipeline"].insert(places[0] + (not after_all), step)
