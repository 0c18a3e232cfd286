"""Time and memory of woven networks beside their two towers run alone, and beside their peers.

    python tools/analysis_tools/benchmark.py --arch small-patch16 --size 224 224 --mode forward

One process runs all contenders in turn, round by round, so that what slows the machine slows all
of them; medians and quartiles are shown, and ratios to a named base within each round. Peak memory
is measured for each contender in a process of its own (CPU), or by the allocator (CUDA). Writes
results.json, results.md and results.png into --out.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import describe_machine, in_a_process, peak_of, summarise
from torch import Tensor, nn

from robustnet_mm.models import RobustNet, fold_batchnorm
from robustnet_mm.models.grids import pool_to_grid
from robustnet_mm.models.paper_fiu import PaperSqueeze


class Floor(nn.Module):
    """The two towers one after the other, with nothing between them: the limit of a weave."""

    def __init__(self, arch: str, **kwargs):
        super().__init__()
        net = RobustNet(arch, direction="none", **kwargs)
        self.cnn, self.vit = net.cnn, net.vit

    def forward(self, images: Tensor):
        return self.cnn(images), self.vit(images)


class ConvolveFirst(nn.Module):
    """The paper's order of operations: convolve the whole map, then pool."""

    def __init__(self, squeeze: PaperSqueeze):
        super().__init__()
        self.squeeze = squeeze

    def forward(self, detail: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        unit = self.squeeze
        x = F.conv2d(detail, unit.proj.weight[..., None, None], unit.proj.bias)
        x = pool_to_grid(x, grid).flatten(2).transpose(1, 2)
        return unit.gate(unit.act(unit.norm(x)))


def in_papers_order(net: RobustNet) -> RobustNet:
    for fiu in net.fius:
        fiu.squeeze = ConvolveFirst(fiu.squeeze)
    return net


class Silent(nn.Module):
    """An exchange in which nothing is said."""

    def into_tokens(self, tokens: Tensor, detail: Tensor, grid) -> Tensor:
        return tokens

    def guide(self, tokens: Tensor, detail: Tensor, grid) -> None:
        return None


def alternating(arch: str) -> RobustNet:
    """The two towers block by block in the order of the weave: what the order alone costs."""
    net = RobustNet(arch)
    net.fius = nn.ModuleList(Silent() for _ in net.fius)
    return net


def conformer() -> nn.Module:
    from mmpretrain.models import Conformer  # an installed peer, not a copy

    return Conformer("small")


def compiled(net: nn.Module, device: str) -> nn.Module:
    """One graph; on CUDA replayed as a CUDA graph."""
    mode = "reduce-overhead" if device == "cuda" else "default"
    return torch.compile(net, fullgraph=True, dynamic=False, mode=mode)


def timm_model(name: str) -> nn.Module:
    import timm

    dynamic = dict(dynamic_img_size=True, dynamic_img_pad=True) if name.startswith("vit") else {}
    return timm.create_model(name, num_classes=0, **dynamic)


CHANNELS_LAST = dict(cnn=dict(channels_last=True))
CONTENDERS = {
    "floor": lambda a: Floor(a.arch),
    "both": lambda a: RobustNet(a.arch),
    "vit_to_cnn": lambda a: RobustNet(a.arch, direction="vit_to_cnn"),
    "cnn_to_vit": lambda a: RobustNet(a.arch, direction="cnn_to_vit"),
    "none": lambda a: RobustNet(a.arch, direction="none"),
    "alternating": lambda a: alternating(a.arch),
    "gated": lambda a: RobustNet(a.arch, form="gated"),
    "papers_order": lambda a: in_papers_order(RobustNet(a.arch, form="gated")),
    "windows": lambda a: RobustNet(a.arch, vit=dict(window_size=14, global_blocks=a.globals)),
    "with_cp": lambda a: RobustNet(a.arch, with_cp=True),
    "channels_last": lambda a: RobustNet(a.arch, **CHANNELS_LAST),
    "floor_channels_last": lambda a: Floor(a.arch, **CHANNELS_LAST),
    "folded": lambda a: fold_batchnorm(RobustNet(a.arch, **CHANNELS_LAST).eval()),
    "floor_folded": lambda a: fold_batchnorm(Floor(a.arch, **CHANNELS_LAST).eval()),
    "compiled": lambda a: compiled(RobustNet(a.arch), a.device),
    "floor_compiled": lambda a: compiled(Floor(a.arch), a.device),
    "conformer_small": lambda a: conformer(),
    "vit_base": lambda a: timm_model("vit_base_patch16_224"),
    "resnet50": lambda a: timm_model("resnet50"),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare times and memory")
    parser.add_argument("--arch", default="small-patch16", help="variant of RobustNet")
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=["floor", "both", "papers_order"]
    )
    parser.add_argument("--base", default="floor", help="the contender that is 1.00")
    parser.add_argument("--size", nargs=2, type=int, default=[224, 224], metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--mode", nargs="+", choices=["forward", "train"], default=["forward"])
    parser.add_argument("--dtype", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="peak memory, too")
    parser.add_argument("--globals", nargs="*", type=int, default=[2, 5, 8, 11], help="blocks")
    parser.add_argument("--out", default="work_dirs/benchmark")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # the process of one contender
    return parser.parse_args()


def leaves(output) -> list[Tensor]:
    """All floating tensors of an output, however nested."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    return [x for part in output or () if not isinstance(part, int) for x in leaves(part)]


class Contender:
    """One network with its step: a forward pass, or forward, backward and update."""

    def __init__(self, name: str, mode: str, args: argparse.Namespace):
        torch.manual_seed(0)
        self.model = CONTENDERS[name](args).to(args.device)
        self.model.train(mode == "train")
        self.mode, self.args = mode, args
        self.images = torch.randn(args.batch, 3, *args.size, device=args.device)
        used = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(used, lr=0.0) if mode == "train" else None

    def step(self):
        half = torch.autocast(self.args.device, torch.bfloat16, enabled=self.args.dtype == "bf16")
        with torch.set_grad_enabled(self.mode == "train"), half:
            loss = sum(x.float().square().mean() for x in leaves(self.model(self.images)))
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()

    def seconds(self) -> float:
        if self.args.device != "cuda":
            start = time.perf_counter()
            self.step()
            return time.perf_counter() - start
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self.step()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000


def measure_times(mode: str, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every step of every contender, in turn, round by round."""
    contenders = {name: Contender(name, mode, args) for name in args.contenders}
    times = {name: [] for name in contenders}
    for number in range(args.warmup + args.rounds):
        print(f"\r{mode}: round {number + 1} of {args.warmup + args.rounds} ", end="",
              file=sys.stderr)  # fmt: skip
        for name, contender in contenders.items():
            seconds = contender.seconds()
            if number >= args.warmup:
                times[name].append(seconds)
    print(file=sys.stderr)
    return times


def measure_memory(name: str, mode: str, args: argparse.Namespace) -> float:
    """Peak memory of one contender's steps in MiB, without what the model itself takes."""
    if args.device == "cuda":
        contender = Contender(name, mode, args)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        contender.step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    return float(in_a_process(f"{name}:{mode}"))


def peak_of_this_process(name: str, mode: str, args: argparse.Namespace) -> float:
    """MiB that a step of a contender needs beyond what is there before it."""
    contender = Contender(name, mode, args)
    contender.model.eval()  # not chained: backbones of mmpretrain return None
    contender.model(contender.images[..., :64, :64])  # what libraries allocate once
    contender.model.train(mode == "train")
    return peak_of(contender.step)[0]


def table(results: dict, args: argparse.Namespace) -> str:
    height, width = args.size
    lines = [f"{args.arch}, {height} x {width}, batch {args.batch}, {args.dtype}, "
             f"{describe_machine(args)}; {args.rounds} rounds", "",
             "| contender | step | median | quartiles | ratio | peak memory |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for mode, rows in results.items():
        for name, row in rows.items():
            memory = f"{row['memory']:.0f} MiB" if "memory" in row else "not measured"
            ms = [1000 * row[key] for key in ("median", "low", "high")]
            lines.append(f"| {name} | {mode} | {ms[0]:.1f} ms | {ms[1]:.1f} to {ms[2]:.1f} | "
                         f"{row['ratio']:.3f} | {memory} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def draw(results: dict, args: argparse.Namespace, path: Path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(6 * len(results), 3), squeeze=False)
    for axis, (mode, rows) in zip(axes[0], results.items(), strict=True):
        names = list(rows)
        bars = axis.barh(names, [rows[name]["ratio"] for name in names], color="#4878a8")
        axis.bar_label(bars, fmt="%.2f", padding=3)
        axis.axvline(1.0, color="0.4", linewidth=1)
        axis.invert_yaxis()
        axis.set_xlabel(f"time relative to {args.base}")
        axis.set_title(f"{args.arch}, {args.size[0]} x {args.size[1]}, {mode}")
        axis.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.rounds < 2:
        raise SystemExit(f"--rounds must be 2 or more, for quartiles, got {args.rounds}")
    if args.base not in args.contenders:
        raise SystemExit(
            f"--base must be one of the contenders {args.contenders}, got {args.base!r}"
        )
    if "train" in args.mode and (folded := [n for n in args.contenders if "folded" in n]):
        raise SystemExit(f"{', '.join(folded)} cannot be trained: leave out --mode train")
    if args.only:
        print(peak_of_this_process(*args.only.split(":"), args))
        return
    results = {mode: summarise(measure_times(mode, args), args.base) for mode in args.mode}
    if args.memory:
        for mode, rows in results.items():
            for name in rows:
                rows[name]["memory"] = measure_memory(name, mode, args)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in vars(args).items() if key != "only"}
    record = dict(settings=settings, machine=describe_machine(args), results=results)
    (out / "results.json").write_text(json.dumps(record, indent=1))
    (out / "results.md").write_text(table(results, args))
    draw(results, args, out / "results.png")
    print(table(results, args))


if __name__ == "__main__":
    main()
