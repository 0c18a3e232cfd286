"""What models cost: time and memory of classifiers or segmentors beside the first, random weights.

    python tools/analysis_tools/benchmark_models.py CONFIG... --sizes 512x512 512x1024

Forward and training step of each config in turn in one process, round by round; the peak of each in
a process of its own. Ratios are to the first config within a round. The CPU is used. A config may
be that of a study's training (`work_dirs/.../cell.py`).
"""

import argparse
import re
from collections.abc import Callable

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from timing import describe_machine, in_a_process, in_rounds, peak_of, summarise

from robustnet_mm.engine.backbones import build_model
from robustnet_mm.engine.launch import read_config
from robustnet_mm.hosts import host_of

MODES = ("forward", "train")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of models")
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="of classifiers or segmentors")
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


def labelled(cfg: Config, size: tuple[int, int]):
    """A data sample of the config's host that is of the first class, all of it."""
    host = host_of(cfg, of_images=True)
    if host.detects:
        raise ValueError(f"{cfg.filename} is of a detector: benchmark_detector.py times those")
    sample = host.sample_type()(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    if host.segments:
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, *size, dtype=torch.long))
        return sample
    return sample.set_gt_label(0)


def step_of(config: str, size: tuple[int, int], mode: str, batch: int) -> Callable:
    """A pass of a model on noise; of training forward, backward and a step of the optimiser."""
    torch.manual_seed(0)
    cfg = read_config(config)
    model = build_model(cfg).train(mode == "train")
    images = torch.randn(batch, 3, *size)
    samples = [labelled(cfg, size) for _ in images]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def forward():
        with torch.no_grad():
            model(images, samples, mode="predict")

    def train():
        optimizer.zero_grad()
        loss, _ = model.parse_losses(model(images, samples, mode="loss"))
        loss.backward()
        optimizer.step()

    return train if mode == "train" else forward


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.only:
        config, size, mode = args.only
        step = step_of(config, tuple(map(int, size.split("x"))), mode, args.batch)
        step()  # what is allocated once: by libraries, and the optimiser's state
        print(f"{peak_of(step)[0]:.0f}")
        return
    told = f"batch {args.batch}, {describe_machine(args)}; medians of {args.rounds} rounds"
    print(f"{told}\n\n| size | mode | config | time | ratio | peak |\n|---|---|---|---|---|---|")
    for size in args.sizes:
        shape = tuple(map(int, size.split("x")))
        for mode in MODES:
            steps = {c: step_of(c, shape, mode, args.batch) for c in args.configs}
            times = in_rounds(steps, args.rounds)
            for config, one in summarise(times, args.configs[0]).items():
                ms = f"{1000 * one['median']:.0f} ms | {one['ratio']:.3f}"
                memory = f"{in_a_process(config, size, mode)} MiB"
                print(f"| {size} | {mode} | {config} | {ms} | {memory} |")


if __name__ == "__main__":
    main()
