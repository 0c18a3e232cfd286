"""Time and memory of a forward pass against the side of a square image.

    python tools/analysis_tools/growth.py --contenders floor both windows --rounds 3

Runs benchmark.py once for each side, and takes its options except --size, --mode and --out. Writes
growth.md and growth.png into --out, and the records of benchmark.py below it.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

SIDES = [224, 384, 512, 768, 1024, 1280, 1536]


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description="Measure growth with the image")
    parser.add_argument("--sides", nargs="+", type=int, default=SIDES)
    parser.add_argument("--out", default="work_dirs/growth")
    return parser.parse_known_args()


def measure(side: int, out: Path, options: list[str]) -> dict[str, dict]:
    """Contender -> what benchmark.py found at this side."""
    tool = Path(__file__).with_name("benchmark.py")
    size = ["--size", str(side), str(side), "--mode", "forward", "--memory", "--out", str(out)]
    subprocess.run([sys.executable, tool, *options, *size], check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "results.json").read_text())["results"]["forward"]


def table(found: dict[int, dict]) -> str:
    names = list(next(iter(found.values())))
    lines = [f"| side | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for side, rows in found.items():
        cells = (f"{rows[name]['median']:.2f} s, {rows[name]['memory']:.0f} MiB" for name in names)
        lines.append(f"| {side} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(found: dict[int, dict], path: Path):
    """Per pixel, so that what is linear in the area is level, and what is quadratic climbs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4))
    panels = (("median", 1e9, "time per pixel (ns)"), ("memory", 2**20, "memory per pixel (bytes)"))
    for axis, (key, unit, label) in zip(axes, panels, strict=True):
        for name in next(iter(found.values())):
            values = [unit * rows[name][key] / side**2 for side, rows in found.items()]
            axis.plot(list(found), values, marker="o", label=name)
        axis.set_xticks(list(found))
        axis.set_ylim(bottom=0)
        axis.set_xlabel("side of the image (pixels)")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    args, options = parse_args()
    out = Path(args.out)
    found = {side: measure(side, out / str(side), options) for side in args.sides}
    (out / "growth.md").write_text(table(found))
    draw(found, out / "growth.png")
    print(table(found))


if __name__ == "__main__":
    main()
