"""What training a Mask R-CNN costs: images per second and peak memory, and what fits which GPU.

    python tools/analysis_tools/benchmark_detector.py --archs tiny-patch16 small-patch16

Training steps (forward, backward, AdamW) of the configs under configs/coco on generated images
with ten objects each, in every way to save memory and at every batch size. On CUDA under bf16
autocast, with the memory reserved at the peak; what runs out of memory is written as such. On a CPU
in float32, without the memory. Writes detector.json and detector.md into --out.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import MODELS
from timing import describe_machine
from torch import nn

CONFIGS = Path(__file__).resolve().parents[2] / "configs/coco"
WINDOWS = dict(window_size=14, global_blocks=(2, 5, 8, 11))
WAYS = {
    "as it is": {},
    "with_cp": dict(with_cp=True),
    "windows": dict(vit=WINDOWS),
    "with_cp, windows": dict(with_cp=True, vit=WINDOWS),
}
GPUS = (12, 24, 80)  # GB


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the training of a Mask R-CNN")
    parser.add_argument("--archs", nargs="+", default=["tiny-patch16", "small-patch16"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1333], metavar=("H", "W"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--out", default="work_dirs/benchmark_detector")
    return parser.parse_args()


def make_detector(arch: str, way: str) -> nn.Module:
    cfg = Config.fromfile(CONFIGS / f"mask-rcnn_robustnet-{arch}_fpn_1x_coco.py")
    cfg.merge_from_dict(dict(model=dict(backbone=dict(WAYS[way]))))
    return MODELS.build(cfg.model)


def measure(arch: str, way: str, batch: int, args: argparse.Namespace) -> dict:
    """Seconds of a step, and its peak memory in GB with weights and optimiser."""
    torch.manual_seed(0)
    cuda = args.device == "cuda"
    model = make_detector(arch, way).to(args.device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    data = demo_mm_inputs(
        batch, [(3, *args.size)] * batch, num_items=[10] * batch, num_classes=80, with_mask=True
    )
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
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
    peak = torch.cuda.max_memory_reserved() / 1e9 if cuda else None
    return dict(seconds=median(seconds[args.warmup :]), peak=peak)


def try_to_measure(*args) -> dict | None:
    try:
        return measure(*args)
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def row(arch: str, way: str, batch: int, found: dict | None) -> str:
    cells = [arch, way, str(batch)]
    if found is None:
        cells += ["out of memory", "", ""]
    else:
        peak = found["peak"]
        fits = [f"{size} GB" for size in GPUS if peak is not None and peak < size - 1]
        cells += [f"{batch / found['seconds']:.2f}"]
        cells += ["not measured" if peak is None else f"{peak:.1f} GB", ", ".join(fits)]
    return f"| {' | '.join(cells)} |"


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules(init_default_scope=True)
    dtype = "bf16" if args.device == "cuda" else "float32"
    lines = [
        f"{args.size[0]} x {args.size[1]}, {dtype}, {describe_machine(args)}",
        "",
        "| arch | way | batch | images/s | peak memory | fits |",
        "|---|---|---|---|---|---|",
    ]
    records = []
    for arch in args.archs:
        for way in args.ways:
            for batch in args.batches:
                found = try_to_measure(arch, way, batch, args)
                records.append(dict(arch=arch, way=way, batch=batch, found=found))
                lines.append(row(arch, way, batch, found))
                print(lines[-1], flush=True)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    record = dict(settings=vars(args), machine=describe_machine(args), results=records)
    (out / "detector.json").write_text(json.dumps(record, indent=1))
    (out / "detector.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
