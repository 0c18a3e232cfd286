"""What a head costs: time and memory of segmentors beside the first one, with random weights.

    DATA_ROOT=data/own python tools/analysis_tools/benchmark_segmentation.py CONFIG... \
        --sizes 512x512 512x1024

Forward and training step of each config in turn in one process, round by round; the peak of each in
a process of its own. Ratios are to the first config within a round. The CPU is used.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from benchmark import describe_machine, in_rounds, peak_of, summarise
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData

from robustnet_mm.engine.launch import read_config

MODES = ("forward", "train")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of segmentors")
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="of segmentors")
    parser.add_argument("--sizes", nargs="+", default=["512x512", "512x1024"], metavar="HxW")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)  # the process of one peak
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f"--rounds must be 2 or more for quartiles, got {args.rounds}")
    if wrong := [size for size in args.sizes if not re.fullmatch(r"\d+x\d+", size)]:
        parser.error(f"--sizes must be HEIGHTxWIDTH such as 512x1024, got {wrong[0]}")
    args.device = "cpu"
    return args


def step_of(config: str, size: tuple[int, int], mode: str, batch: int) -> Callable:
    """A pass of a model on noise; of training forward, backward and a step of the optimiser."""
    from mmseg.structures import SegDataSample

    torch.manual_seed(0)
    cfg = read_config(config)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    model.train(mode == "train")
    images = torch.randn(batch, 3, *size)
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    samples = [SegDataSample(metainfo=meta) for _ in images]
    for sample in samples:
        labels = torch.randint(0, model.decode_head.num_classes, (1, *size))
        sample.gt_sem_seg = PixelData(data=labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def forward():
        with torch.no_grad():
            model.encode_decode(images, [meta] * batch)

    def train():
        optimizer.zero_grad()
        loss, _ = model.parse_losses(model.loss(images, samples))
        loss.backward()
        optimizer.step()

    return train if mode == "train" else forward


def peak(config: str, size: str, mode: str) -> str:
    command = [sys.executable, __file__, *sys.argv[1:], "--only", config, size, mode]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return found.split()[-1]


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.only:
        config, size, mode = args.only
        step = step_of(config, tuple(map(int, size.split("x"))), mode, args.batch)
        step()  # what is allocated once: by libraries, and the optimiser's state
        print(f"{peak_of(step)[0]:.0f}")
        return
    print(f"{describe_machine(args)}\n\n| size | mode | config | time | ratio | peak |")
    print("|---|---|---|---|---|---|")
    for size in args.sizes:
        shape = tuple(map(int, size.split("x")))
        for mode in MODES:
            steps = {c: step_of(c, shape, mode, args.batch) for c in args.configs}
            times = in_rounds(steps, args.rounds)
            for config, one in summarise(times, args.configs[0]).items():
                told = f"{one['median']:.2f} s | {one['ratio']:.3f}"
                memory = peak(config, size, mode)
                print(f"| {size} | {mode} | {Path(config).stem} | {told} | {memory} MiB |")


if __name__ == "__main__":
    main()
