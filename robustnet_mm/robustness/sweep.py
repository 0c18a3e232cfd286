"""A model measured on clean images and on every corruption of them, cell by cell.

A cell is a file `cells/<corruption>-<severity>.json` in the work dir, written whole when it is
measured, so that a sweep that was killed goes on where it was.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import asdict, dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.fileio import dump, load
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from robustnet_mm.arguments import check_choice, check_whole, check_wholes
from robustnet_mm.datasets.checks import leaf_datasets
from robustnet_mm.engine.backbones import load_model
from robustnet_mm.engine.checks import check_config
from robustnet_mm.engine.launch import make_work_dir, read_config
from robustnet_mm.engine.metrics import HEADS
from robustnet_mm.files import locked
from robustnet_mm.hosts import host_of
from robustnet_mm.processes import die_with_parent
from robustnet_mm.weights.files import read_checkpoint

from .corruptions import CORRUPTIONS, EXTRA, SEVERITIES
from .scores import Found

_WHOLE = dict(backend_args=dict(backend="whole"))


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


class Sweep:
    """The cells of one model, in a work dir.

    Args:
        measurement: Of what.
        work_dir: Where cells and logs go.
        corruptions: Names; by default the 15 of ImageNet-C.
        severities: 1 to 5.

    Raises:
        ValueError: An unknown corruption or severity, or a work dir that cannot be written.
        FileNotFoundError: No such config or checkpoint.
    """

    def __init__(
        self,
        measurement: Measurement,
        work_dir: str | Path,
        corruptions: Sequence[str] = CORRUPTIONS,
        severities: Sequence[int] = SEVERITIES,
    ):
        for name in corruptions:
            check_choice("each of corruptions", name, CORRUPTIONS + EXTRA)
        severities = check_wholes("severities", severities, SEVERITIES[0], SEVERITIES[-1])
        if not corruptions or not severities:
            raise ValueError("a sweep needs a corruption and a severity, got none")
        self.measurement, self.work_dir = measurement, Path(work_dir)
        read_checkpoint(measurement.checkpoint)  # what is wrong with it is told now
        make_work_dir(str(self.work_dir / "cells"))
        pairs = [Cell(name, level) for name in corruptions for level in sorted(set(severities))]
        self.cells = [CLEAN, *dict.fromkeys(pairs)]

    def file(self, cell: Cell) -> Path:
        return self.work_dir / "cells" / f"{cell.name}.json"

    def run(self, processes: int = 1, say: Callable[[str], None] = lambda line: None) -> Found:
        """Measure what is missing, in one process or in several, and collect it all.

        Args:
            processes: How many; each takes the next GPU where there are some.
            say: Takes a line about each cell.

        Raises:
            ValueError: Another sweep runs in the work dir, or it holds one of another measurement,
                or a cell cannot be measured.
        """
        check_whole("processes", processes, 1)
        with locked(self.work_dir / ".sweep.lock", "sweep"):
            self._claim()
            missing = [cell for cell in self.cells if not self.file(cell).is_file()]
            done = len(self.cells) - len(missing)
            if done:
                say(f"{done} of {len(self.cells)} cells were measured before")
            for cell, found in self._measured(missing, min(processes, max(1, len(missing)))):
                dump(found, self.file(cell), **_WHOLE)
                done += 1
                metrics = ", ".join(f"{k} {v:.4g}" for k, v in found["metrics"].items())
                say(f"[{done}/{len(self.cells)}] {cell.name}: {metrics}")
        return read_found(self.work_dir, self.cells)

    def _claim(self) -> None:
        """A work dir belongs to one measurement, once a cell is there."""
        mark = self.work_dir / "measurement.json"
        stated = dict(asdict(self.measurement), digest=self.measurement.digest())
        measured = mark.is_file() and any((self.work_dir / "cells").glob("*.json"))
        if measured and load(mark)["digest"] != stated["digest"]:
            raise ValueError(
                f"work_dir {self.work_dir} holds a sweep of another config, checkpoint or seed "
                f"({load(mark)['checkpoint']}): name another by --work-dir"
            )
        dump(stated, mark, **_WHOLE)

    def _measured(self, cells: list[Cell], processes: int):
        if processes == 1:
            measure = Bench(self.measurement) if cells else None
            yield from ((cell, measure(cell)) for cell in cells)
            return
        context = get_context("spawn")
        numbers = context.Queue()
        for number in range(processes):
            numbers.put(number)
        threads = max(1, torch.get_num_threads() // processes)
        started = (numbers, threads)
        with ProcessPoolExecutor(processes, context, _start, started) as pool:
            waiting = {pool.submit(_measure, self.measurement, cell): cell for cell in cells}
            try:
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            finally:  # where one failed, or the reader stopped, the others are not begun
                pool.shutdown(cancel_futures=True)


def read_found(work_dir: str | Path, cells: Sequence[Cell] | None = None) -> Found:
    """What the cells of a work dir hold.

    Args:
        work_dir: Of a sweep.
        cells: Which; by default all that were measured.

    Raises:
        ValueError: It holds no measured corruption, or no clean images.
    """
    folder = Path(work_dir, "cells")
    if cells is None:
        names = [file.stem.rpartition("-") for file in sorted(folder.glob("*-*.json"))]
        cells = [CLEAN, *(Cell(name, int(level)) for name, _, level in names)]
    if len(cells) < 2 or not (folder / "clean.json").is_file():
        raise ValueError(f"{work_dir} holds no sweep: run tools/analysis_tools/robustness.py first")
    corrupted, right = {}, {}
    for cell in cells:
        content = load(folder / f"{cell.name}.json")
        if cell != CLEAN:
            corrupted.setdefault(cell.corruption, {})[cell.severity] = content["metrics"]
        else:
            clean, images = content["metrics"], content["images"]
        for head, word in content["right"].items():
            of_head = right.setdefault(head, {}).setdefault(cell.corruption, {})
            of_head[cell.severity] = word
    return Found(clean, corrupted, right, images)


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


def _start(numbers, threads: int) -> None:
    die_with_parent()
    number = numbers.get()
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    torch.set_num_threads(threads)


_benches = []  # of a process of a pool, which has one


def _measure(measurement: Measurement, cell: Cell) -> dict:
    if not _benches:  # here, and not when the process starts, its errors are handed on
        _benches.append(Bench(measurement))
    return _benches[0](cell)
