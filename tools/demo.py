"""The whole journey on generated data, without a GPU or a download: `make demo`.

    python tools/demo.py [--compare] [--fresh]

Makes DigitScenes, pretrains RobustNet nano on its crops, starts a Mask R-CNN from that checkpoint,
tests it on held-out scenes and draws pictures into work_dirs/demo/. A second run goes on where the
first one ended. The last line is `bbox_mAP=... segm_mAP=... seconds=...`.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
CONFIGS = ROOT / "configs" / "digit_scenes"
CLASSIFIER = CONFIGS / "robustnet-nano_5e_crops.py"
DETECTOR = CONFIGS / "mask-rcnn_robustnet-nano_digit-scenes.py"
MADE = ("classifier", "detector", "scratch")  # one folder and one log each; --fresh removes them
SCORES = ("top1", "top1_cnn", "top1_vit", "bbox_mAP", "segm_mAP")


class Progress:
    """One line that is rewritten on a terminal; a line every ten seconds in a file."""

    def __init__(self):
        self.shown, self.width = 0.0, 0

    def show(self, text: str, last: bool = False) -> None:
        if sys.stdout.isatty():
            print(f"\r{text.ljust(self.width)}", end="\n" if last else "", flush=True)
            self.width = 0 if last else len(text)
        elif last or time.time() - self.shown > 10:
            print(text, flush=True)
            self.shown = time.time()


def default_processes() -> int:
    """Two for a CPU with two cores; one where there is a GPU, or a single core."""
    import torch

    return 1 if torch.cuda.is_available() else min(2, len(os.sched_getaffinity(0)))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make data, train, test, draw: all on CPU")
    parser.add_argument("--compare", action="store_true", help="also train from scratch, as long")
    parser.add_argument(
        "--fresh", action="store_true", help="remove earlier results and start again"
    )
    parser.add_argument("--data", type=Path, default=Path("data/digit_scenes"))
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"))
    parser.add_argument("--processes", type=int, help="default: 2 on a CPU with 2 cores, else 1")
    for name, default, halves in (
        ("--scenes", (400, 80), ("TRAIN", "VAL")),
        ("--crops", (6000, 720), ("TRAIN", "VAL")),
        ("--epochs", (4, 10), ("CLASSIFIER", "DETECTOR")),
    ):
        parser.add_argument(name, type=int, nargs=2, default=default, metavar=halves)
    args = parser.parse_args()
    args.processes = default_processes() if args.processes is None else args.processes
    if min(*args.epochs, args.processes) < 1:
        parser.error(f"epochs, processes must be at least 1, got {args.epochs}, {args.processes}")
    return args


def make_data(args: argparse.Namespace) -> None:
    from robustnet_mm.datasets import make_digit_scenes

    progress, start = Progress(), time.time()

    def show(done: int, total: int) -> None:
        eta = (time.time() - start) / done * (total - done)
        progress.show(f"data: {done}/{total} pictures, eta {eta:.0f} s", last=done == total)

    if (args.data / "finished.json").exists():
        print(f"data: using {args.data}")
    make_digit_scenes(args.data, scenes=args.scenes, crops=args.crops, progress=show)


def free_port() -> str:
    """For the processes of a training to meet, whatever else runs on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def newest(folder: Path) -> dict:
    """The last numbers that a training in `folder` gave to its visualizer; {} before the first."""
    files = sorted(folder.glob("*/vis_data/scalars.json"))
    lines = files[-1].read_text().splitlines(keepends=True) if files else []
    whole = [line for line in lines if line.endswith("\n")]  # the last one may be half written
    return json.loads(whole[-1]) if whole else {}


def told(numbers: dict, epochs: int) -> str:
    """What the screen says of them: progress and loss, or the scores of a validation."""
    if "loss" in numbers:
        place = f"epoch {numbers['epoch']}/{epochs}, iteration {numbers['iter']}"
        return f"{place}, loss {numbers['loss']:.3f}"
    scores = {name.split("/")[-1]: value for name, value in numbers.items() if "/" in name}
    return ", ".join(f"{n} {scores[n]:.3f}" for n in SCORES if n in scores)


def run_tool(name: str, command: list, log: Path, folder: Path | None = None, epochs: int = 0):
    """Runs a tool, its output into `log`; ends the demo if it fails.

    The screen shows the progress of the training in `folder`.
    """
    from robustnet_mm.processes import die_with_parent

    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = {"OMP_NUM_THREADS": "1"} | os.environ
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    progress, before = Progress(), newest(folder) if folder else {}
    progress.show(f"{name}: starting, log in {log}")
    with open(log, "a") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=env,
            preexec_fn=die_with_parent,
        )
        with process:
            running = True
            while running:  # and once more when it has ended
                time.sleep(0.2)
                running = process.poll() is None
                if folder and (numbers := newest(folder)) != before:
                    progress.show(f"{name}: {told(numbers, epochs)}", last="loss" not in numbers)
                    before = numbers
    if process.returncode:
        tail = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-15:])
        sys.exit(f"{name} failed (exit code {process.returncode}); end of {log}:\n{tail}")


def data_options(args: argparse.Namespace) -> list[str]:
    """`--cfg-options` that point a config to the data."""
    loaders = ("train", "val", "test")
    return [f"{name}_dataloader.dataset.data_root={args.data}/" for name in loaders]


def train(name: str, config: Path, args: argparse.Namespace, options: list[str]) -> Path:
    """Trains in work_dir/name unless it is done; goes on from its newest checkpoint, if any."""
    from mmengine.config import Config

    epochs = args.epochs[0 if name == "classifier" else 1]
    folder, cfg = args.work_dir / name, Config.fromfile(config)
    checkpoint = folder / f"epoch_{epochs}.pth"
    if checkpoint.is_file():
        print(f"{name}: using {checkpoint} (--fresh starts again)")
        return checkpoint
    batch = max(cfg.train_dataloader.batch_size // args.processes, 1)
    options = [f"train_dataloader.batch_size={batch}", f"train_cfg.max_epochs={epochs}", *options]
    options.append(f"param_scheduler.1.end={epochs}")
    if name != "classifier":  # each look at the held-out scenes takes seconds
        options.append(f"train_cfg.val_interval={max(epochs // 2, 1)}")
    command = [ROOT / "tools/train.py", config, "--work-dir", folder, "--resume"]
    if args.processes > 1:  # not through a shell, which would outlive a killed demo
        port, number = f"--master_port={free_port()}", f"--nproc_per_node={args.processes}"
        command = ["-m", "torch.distributed.run", port, number, *command, "--launcher", "pytorch"]
    command = [sys.executable, *command, "--cfg-options", *data_options(args), *options]
    run_tool(name, command, args.work_dir / f"{name}.log", folder, epochs)
    return checkpoint


def train_detector(name: str, args: argparse.Namespace, start: str) -> dict[str, float]:
    """Trains a detector, tests it, and returns its scores; `start` is the config's init_cfg."""
    evaluator = f"val_evaluator.ann_file={args.data}/annotations/instances_val.json"
    options = [evaluator, evaluator.replace("val", "test", 1)]
    checkpoint = train(name, DETECTOR, args, [*options, start])
    folder = args.work_dir / name
    scores, predictions = folder / "scores.json", folder / "predictions"
    if not (scores.is_file() and any(folder.glob("test/*/pictures/*"))):
        command = [sys.executable, ROOT / "tools/test.py", DETECTOR, checkpoint]
        command += ["--work-dir", folder / "test", "--show-dir", "pictures"]
        command += ["--cfg-options", *data_options(args), *options, start]
        command += [f"test_evaluator.outfile_prefix={predictions}"]
        command += ["default_hooks.visualization.score_thr=0.5"]
        shutil.rmtree(folder / "test", ignore_errors=True)
        run_tool(f"{name}, test", command, args.work_dir / f"{name}.log")
        (written,) = (folder / "test").glob("*/*.json")
        written.rename(scores)
    return {kind: json.loads(scores.read_text())[f"coco/{kind}_mAP"] for kind in ("bbox", "segm")}


def join_pictures(args: argparse.Namespace, count: int = 8) -> Path:
    """The first pictures of the test, two in a row: truth left, answers above 0.5 right."""
    import cv2
    import numpy as np

    files = sorted((args.work_dir / "detector/test").glob("*/pictures/*"))[:count]
    pairs = [cv2.imread(str(file)) for file in files]
    edge = dict(borderType=cv2.BORDER_CONSTANT, value=(60, 60, 60))
    pairs = [cv2.copyMakeBorder(pair, 4, 4, 6, 6, **edge) for pair in pairs]
    pairs += [np.zeros_like(pairs[0])] * (-len(pairs) % 2)
    grid = np.vstack([np.hstack(pairs[i : i + 2]) for i in range(0, len(pairs), 2)])
    path = args.work_dir / "predictions.png"
    cv2.imwrite(str(path), cv2.resize(grid, None, fx=1.5, fy=1.5))
    return path


def read_curve(folder: Path, key: str) -> tuple[list, list]:
    """A value's steps and numbers over all starts of a training; a resumed step counts once."""
    curve = {}
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        for entry in map(json.loads, file.read_text().splitlines()):
            if key in entry:
                curve[entry["step"]] = entry[key]
    return sorted(curve), [curve[step] for step in sorted(curve)]


def draw_curves(args: argparse.Namespace) -> Path:
    """Loss of both trainings, accuracy of the classifier, mAP of the detector."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(17, 3.6), layout="constrained")
    accuracies = {"accuracy/top1": "sum", "accuracy/top1_cnn": "CNN", "accuracy/top1_vit": "ViT"}
    plots = [
        ("classifier", "loss", "iteration", {"loss": "loss"}),
        ("classifier", "top-1 (%)", "epoch", accuracies),
        ("detector", "loss", "iteration", {"loss": "loss"}),
        ("detector", "mAP", "epoch", {"coco/bbox_mAP": "box", "coco/segm_mAP": "mask"}),
    ]
    for axis, (name, quantity, unit, curves) in zip(axes, plots, strict=True):
        for key, label in curves.items():
            marker = "" if key == "loss" else "o"
            axis.plot(*read_curve(args.work_dir / name, key), marker=marker, label=label)
        axis.set(title=f"{name}: {quantity}", xlabel=unit)
        axis.legend()
    figure.savefig(path := args.work_dir / "curves.png", dpi=110)
    return path


def main() -> None:
    args, start = parse_args(), time.time()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    if args.fresh:
        for name in MADE:
            shutil.rmtree(args.work_dir / name, ignore_errors=True)
            (args.work_dir / f"{name}.log").unlink(missing_ok=True)
    threads = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '1')}"
    print(f"--processes {args.processes}, {threads} each: yours to change")
    make_data(args)
    checkpoint = train("classifier", CLASSIFIER, args, [])
    pretrained = f"model.backbone.init_cfg.checkpoint={checkpoint}"
    scores = train_detector("detector", args, pretrained)
    print(f"pictures: {join_pictures(args)}, {draw_curves(args)}")
    if args.compare:
        scratch = train_detector("scratch", args, "model.backbone.init_cfg=None")
        for kind in ("bbox", "segm"):
            gain = scores[kind] - scratch[kind]
            print(f"{kind}_mAP from scratch {scratch[kind]:.3f}: pretraining gives {gain:+.3f}")
    seconds = round(time.time() - start)
    print(f"bbox_mAP={scores['bbox']:.3f} segm_mAP={scores['segm']:.3f} seconds={seconds}")


if __name__ == "__main__":
    main()
