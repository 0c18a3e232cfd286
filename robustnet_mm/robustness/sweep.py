"""A model measured on clean images and on every corruption of them, cell by cell.

A cell is a file `cells/<corruption>-<severity>.json` in the work dir, written whole when it is
measured, so that a sweep that was killed goes on where it was.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from mmengine.fileio import dump, load

from robustnet_mm.arguments import check_choice, check_whole, check_wholes
from robustnet_mm.engine.launch import make_work_dir
from robustnet_mm.files import locked
from robustnet_mm.processes import die_with_parent
from robustnet_mm.weights.files import read_checkpoint

from .bench import CLEAN, Bench, Cell, Measurement
from .corruptions import CORRUPTIONS, EXTRA, SEVERITIES
from .scores import Found

_WHOLE = dict(backend_args=dict(backend="whole"))


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
