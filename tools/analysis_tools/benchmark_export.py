"""How fast an exported model runs: onnxruntime beside torch, as it is, folded and compiled.

    python tools/analysis_tools/benchmark_export.py CONFIG [CHECKPOINT] --size 224 224

All contenders run in turn in one process, round by round; ratios are to torch as it is, within a
round. Without CHECKPOINT the weights are random. `compiled` needs a C++ compiler and is left out
where there is none. The CPU is used.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from shutil import which

import torch
from mmengine.config import DictAction
from timing import describe_machine, in_rounds, summarise

from robustnet_mm.engine.backbones import build_model, load_model
from robustnet_mm.engine.launch import read_config
from robustnet_mm.export import PARTS, Part, export_onnx
from robustnet_mm.models import fold_batchnorm


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of an exported model")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", nargs="?", help="its weights")
    parser.add_argument("--part", choices=PARTS, default="model")
    parser.add_argument("--size", nargs=2, type=int, default=[224, 224], metavar="SIDE")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f"--rounds must be 2 or more for quartiles, got {args.rounds}")
    args.device = "cpu"
    return args


def contenders(part: Part, images: torch.Tensor, threads: int) -> dict[str, Callable]:
    """Name -> a pass over the images."""
    import onnxruntime

    folded = copy.deepcopy(part)
    fold_batchnorm(folded)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "part.onnx")
        export_onnx(copy.deepcopy(folded), file, sizes=((1, *images.shape[-2:]),))
        session = onnxruntime.InferenceSession(file, options)
    given = {"images": images.numpy()}
    found = {
        "torch": lambda: part(images),
        "torch, folded": lambda: folded(images),
        "onnxruntime": lambda: session.run(None, given),
    }
    if which("g++"):
        quick = torch.compile(copy.deepcopy(folded))
        found["torch, folded and compiled"] = lambda: quick(images)
    return found


@torch.inference_mode()
def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    cfg = read_config(args.config, args.cfg_options)
    model = load_model(cfg, args.checkpoint) if args.checkpoint else build_model(cfg)
    part = Part(model, args.part)
    images = torch.randn(args.batch, 3, *args.size)
    with torch.inference_mode(False), torch.no_grad():
        steps = contenders(part, images, args.threads)
    times = in_rounds(steps, args.rounds)
    height, width = args.size
    print(f"{args.part} at {height} x {width}, batch {args.batch}, {describe_machine(args)}\n")
    print("| contender | median | quartiles | ratio |\n|---|---|---|---|")
    for name, row in summarise(times, "torch").items():
        ms = [1000 * row[key] for key in ("median", "low", "high")]
        print(f"| {name} | {ms[0]:.1f} ms | {ms[1]:.1f} to {ms[2]:.1f} | {row['ratio']:.3f} |")


if __name__ == "__main__":
    main()
