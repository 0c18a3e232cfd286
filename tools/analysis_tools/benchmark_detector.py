"""What training a detector costs: images per second and peak memory, and what fits which GPU.

    python tools/analysis_tools/benchmark_detector.py \
        configs/coco/mask-rcnn_robustnet-{tiny,small}-patch16_fpn_1x_coco.py

Training steps (forward, backward, AdamW) of each config on generated images with ten objects each,
in every way to save memory and at every batch size, each in a process of its own. On CUDA under
bf16 autocast, with the memory reserved at the peak, and which GPUs that fits; what runs out of
memory is written as such. On a CPU in float32, with what a process grows by, from before the model
is built (Linux). A GPU needs less, because activations are bf16, and more, for its CUDA context.
Writes detector.json and detector.md into --out.
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from statistics import median

import torch
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import MODELS
from timing import describe_machine, in_a_process, peak_of

WINDOWS = dict(window_size=14, global_blocks=(2, 5, 8, 11))
WAYS = {
    "as it is": {},
    "with_cp": dict(with_cp=True),
    "windows": dict(vit=WINDOWS),
    "with_cp, windows": dict(with_cp=True, vit=WINDOWS),
}
GPUS = (12, 24, 80)  # GB


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the training of detectors")
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="of detectors")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1333], metavar=("H", "W"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--out", default="work_dirs/benchmark_detector")
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)  # one row, in its process
    args = parser.parse_args()
    if args.warmup < 1 or args.steps < 1:
        parser.error(
            "--warmup and --steps must be 1 or more, because the optimiser's state is there from "
            f"the second step on, got {args.warmup} and {args.steps}"
        )
    return args


def measure(config: str, way: str, batch: int, args: argparse.Namespace) -> dict | None:
    """Seconds of a step, and its peak memory in GB with weights and optimiser; None: no room."""
    seconds = []

    def step():
        train(config, way, batch, args, seconds)

    if args.device == "cuda":
        try:
            step()
        except torch.cuda.OutOfMemoryError:
            return None
        peak = torch.cuda.max_memory_reserved()
    else:
        peak = peak_of(step)[0] * 2**20
    return dict(seconds=median(seconds[args.warmup :]), peak=peak / 1e9)


def train(config: str, way: str, batch: int, args: argparse.Namespace, seconds: list[float]):
    """Build a detector and take its steps; their seconds go into the list."""
    torch.manual_seed(0)
    cuda = args.device == "cuda"
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(dict(model=dict(backbone=dict(WAYS[way]))))
    model = MODELS.build(cfg.model).to(args.device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    data = demo_mm_inputs(
        batch, [(3, *args.size)] * batch, num_items=[10] * batch, num_classes=80, with_mask=True
    )
    for _ in range(args.warmup + args.steps):
        start = time.perf_counter()
        with torch.autocast(args.device, torch.bfloat16, enabled=cuda):
            losses = model(**model.data_preprocessor(data, True), mode="loss")
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)


def row(config: str, way: str, batch: int, found: dict | None, device: str) -> str:
    cells = [Path(config).stem, way, str(batch)]
    if found is None:
        cells += ["out of memory", "", ""]
    else:
        fits = [f"{size} GB" for size in GPUS if device == "cuda" and found["peak"] < size - 1]
        cells += [f"{batch / found['seconds']:.2f}", f"{found['peak']:.1f} GB", ", ".join(fits)]
    return f"| {' | '.join(cells)} |"


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules(init_default_scope=True)
    if args.only:
        config, way, batch = args.only
        print(json.dumps(measure(config, way, int(batch), args)))
        return
    dtype = "bf16" if args.device == "cuda" else "float32"
    lines = [
        f"{args.size[0]} x {args.size[1]}, {dtype}, {describe_machine(args)}",
        "",
        "| config | way | batch | images/s | peak memory | fits |",
        "|---|---|---|---|---|---|",
    ]
    records = []
    for config, way, batch in itertools.product(args.configs, args.ways, args.batches):
        found = json.loads(in_a_process(config, way, str(batch), for_peak=False))
        if args.device != "cuda":
            found["peak"] = json.loads(in_a_process(config, way, str(batch)))["peak"]
        records.append(dict(config=config, way=way, batch=batch, found=found))
        lines.append(row(config, way, batch, found, args.device))
        print(lines[-1], flush=True)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in vars(args).items() if key != "only"}
    record = dict(settings=settings, machine=describe_machine(args), results=records)
    (out / "detector.json").write_text(json.dumps(record, indent=1))
    (out / "detector.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
