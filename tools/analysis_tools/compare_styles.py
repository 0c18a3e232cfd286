"""Judge painted pictures of several methods alike: by the test's metrics of a config.

    CONTENTS=... STYLES=... TEST_CONTENTS=photos TEST_STYLES=paintings VGG_WEIGHTS=vgg16.pth \
        python tools/analysis_tools/compare_styles.py CONFIG --painted ours=painted/ours adain=... \
        --pairs 10 --gatys 50

Beside the methods stand the content itself, the style itself (scaled to the content's size) and,
with --gatys, pictures optimised on the config's own loss and weights. Every method must have
painted the same pixels: --write-inputs DIR writes contents and styles as the test loads them, and
nothing else is done. Writes results.json, results.md and sheet.png into --out-dir.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.utils import track_iter_progress
from torch import Tensor

from robustnet_mm.engine.launch import make_work_dir, read_config
from robustnet_mm.files import WholeFileBackend
from robustnet_mm.registry import DATASETS, METRICS, MODELS
from robustnet_mm.style_transfer import ContentStyleDataset, optimize_picture
from robustnet_mm.style_transfer.losses import weights_of
from robustnet_mm.style_transfer.pixels import from_array, to_array, to_bytes, to_unit
from robustnet_mm.style_transfer.sheets import on_sheet, tile, write_picture

SHOWN = 8  # pairs on the sheet


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Judge painted pictures of several methods")
    parser.add_argument("config", help="config of a style transfer")
    parser.add_argument(
        "--painted",
        nargs="+",
        default=[],
        metavar="NAME=FOLDER",
        help="folders with CONTENT_stylized_STYLE.png",
    )
    parser.add_argument("--pairs", type=int, help="so many pairs, drawn by a seed; default: all")
    parser.add_argument("--gatys", type=int, metavar="STEPS", help="optimise each pair, too")
    parser.add_argument("--write-inputs", metavar="DIR", help="contents and styles as loaded")
    parser.add_argument("--out-dir", default="work_dirs/compare_styles")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args()


class Methods:
    """Name -> the picture of a pair, (3, H, W) uint8 RGB.

    Args:
        cfg: Config of a style transfer.
        painted: NAME=FOLDER each.
        steps: Of Gatys' optimisation; None leaves it out.

    Raises:
        ValueError: A folder that is none.
    """

    def __init__(self, cfg: Config, painted: list[str], steps: int | None):
        self.folders = dict(text.partition("=")[::2] for text in painted)
        for name, folder in self.folders.items():
            if not name or not Path(folder).is_dir():
                raise ValueError(
                    f"--painted takes NAME=FOLDER, got {name}={folder}: no such folder"
                )
        self.steps = steps
        if steps:
            self.loss = MODELS.build(cfg.model.loss)
            self.weights = weights_of(cfg.model.get("loss_weights"))

    def check(self, names: Iterable[str]) -> None:
        """Every picture is there before the first is judged.

        Raises:
            ValueError: One is not.
        """
        for name in names:
            for folder in self.folders.values():
                if not (Path(folder) / name).is_file():
                    raise ValueError(
                        f"{Path(folder) / name} is not there: paint what --write-inputs writes"
                    )

    def __call__(self, content: Tensor, style: Tensor, name: str) -> dict[str, Tensor]:
        """Of the two pictures, (3, H, W) uint8 RGB; `name` is that of the painted file."""
        size = tuple(content.shape[-2:])
        scaled = F.interpolate(style[None].float(), size, mode="bilinear", antialias=True)[0]
        found = {"content itself": content, "style itself": scaled.round().clamp(0, 255).byte()}
        for method, folder in self.folders.items():
            found[method] = read_painted(Path(folder) / name, size).to(content.device)
        if self.steps:
            found["optimised"] = to_bytes(
                optimize_picture(
                    to_unit(content),
                    to_unit(style),
                    self.loss,
                    self.steps,
                    self.weights["content"],
                    self.weights["style"],
                )[0]
            )
        return found


def read_painted(path: Path, size: tuple[int, int]) -> Tensor:
    """(3, H, W) uint8 RGB.

    Raises:
        ValueError: No picture, or one of another size.
    """
    pixels = mmcv.imread(str(path))
    if pixels is None or pixels.shape[:2] != size:
        found = "nothing that can be read" if pixels is None else f"{pixels.shape[:2]} pixels"
        raise ValueError(
            f"{path} must be a picture of {size} pixels, got {found}: paint what --write-inputs "
            "writes, with the same config"
        )
    return from_array(mmcv.bgr2rgb(pixels))


def rgb(picture: Tensor) -> np.ndarray:
    """As it was loaded, (3, H, W) with blue first -> (H, W, 3)"""
    return to_array(picture.flip(0))


def check_names(data: ContentStyleDataset) -> None:
    """A painted picture is found by the names of its content and its style.

    Raises:
        ValueError: Two files of one name.
    """
    for name, paths in dict(content=data.contents, style=data.styles).items():
        counted = Counter(Path(path).stem for path in paths)
        if twice := [stem for stem, number in counted.items() if number > 1]:
            raise ValueError(f"each {name} must have a name of its own, got {twice[0]} twice")


def painted_name(data: ContentStyleDataset, index: int) -> str:
    content, style = divmod(index, len(data.styles))
    return f"{Path(data.contents[content]).stem}_stylized_{Path(data.styles[style]).stem}.png"


def write_inputs(data: ContentStyleDataset, out: Path) -> None:
    """Every content and every style as a .png of its name."""
    for name, paths in dict(content=data.contents, style=data.styles).items():
        make_work_dir(str(out / name), "--write-inputs")
        for path in paths:
            write_picture(out / name / f"{Path(path).stem}.png", rgb(data.picture(path)))


def compare(cfg: Config, data: ContentStyleDataset, args: argparse.Namespace):
    """Method -> metric -> value, the rows of the sheet, and the number of pairs."""
    number = min(args.pairs or len(data), len(data))
    chosen = sorted(random.Random(0).sample(range(len(data)), number))
    shown = set(chosen[:: -(-number // SHOWN)])
    evaluators = cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    metrics = [METRICS.build(dict(each)) for each in evaluators]
    methods, rows, names = Methods(cfg, args.painted, args.gatys), [], []
    methods.check(painted_name(data, index) for index in chosen)
    for index in track_iter_progress(chosen):
        pair = data[index]
        inputs = pair["inputs"]
        pictures = [inputs[name].flip(0).to(get_device()) for name in ("content", "style")]
        painted = methods(*pictures, painted_name(data, index))
        names = list(painted)  # all methods of a pair are one batch
        batch = dict(inputs={name: [picture] * len(names) for name, picture in inputs.items()})
        for metric in metrics:
            metric.process(batch, [dict(picture=picture) for picture in painted.values()])
        if index in shown:
            row = [painted["content itself"], pictures[1]]
            row += [painted[m] for m in painted if not m.endswith("itself")]
            rows.append([on_sheet(to_array(picture)) for picture in row])
    results = {name: {} for name in names}
    for k, name in enumerate(names):
        for metric in metrics:
            found = metric.compute_metrics(metric.results[k :: len(names)])
            prefix = f"{metric.prefix}/" if metric.prefix else ""
            results[name] |= {f"{prefix}{key}": value for key, value in found.items()}
    return results, rows, number


def table(results: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(results.values())))
    lines = ["| method | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for method, found in results.items():
        lines.append(f"| {method} | " + " | ".join(f"{found[name]:.4g}" for name in names) + " |")
    return "\n".join(lines) + "\n"


def main():
    args = parse_args()
    for name in ("pairs", "gatys"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise SystemExit(f"--{name} must be 1 or more, got {value}")
    cfg = read_config(args.config, args.cfg_options)
    data = DATASETS.build(cfg.test_dataloader.dataset)
    check_names(data)
    if args.write_inputs:
        write_inputs(data, Path(args.write_inputs))
        return
    out = Path(args.out_dir)
    make_work_dir(str(out), "--out-dir")
    results, rows, pairs = compare(cfg, data, args)
    machine = f"{get_device()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    record = dict(pairs=pairs, gatys=args.gatys, machine=machine, results=results)
    backend = WholeFileBackend()
    backend.put_text(json.dumps(record, indent=1), out / "results.json")
    backend.put_text(table(results), out / "results.md")
    write_picture(out / "sheet.png", tile(rows))
    print(table(results))


if __name__ == "__main__":
    main()
