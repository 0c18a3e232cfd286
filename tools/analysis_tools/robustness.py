"""What a trained model loses on corrupted images: mCE of classifiers, mPC and rPC of all.

    python tools/analysis_tools/robustness.py CONFIG CHECKPOINT [--severities 1 3 5] \
        [--base work_dirs/other_robustness]

The test data of the config go through the 15 corruptions of ImageNet-C at five severities. What was
measured is kept in the work dir, cell by cell: a killed sweep goes on by the same command. Writes
results.json, results.md and results.png there. docs/robustness.md.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.fileio import dump

from robustnet_mm.engine.launch import ending_on_interrupt
from robustnet_mm.files import WholeFileBackend
from robustnet_mm.robustness import (
    CORRUPTIONS,
    EXTRA,
    SEVERITIES,
    Found,
    Measurement,
    Sweep,
    draw,
    markdown,
    read_found,
)
from robustnet_mm.robustness.report import chosen, summary


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a model on corrupted images")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--work-dir", help="default: work_dirs/<name of the config>_robustness")
    parser.add_argument(
        "--corruptions",
        nargs="+",
        default=list(CORRUPTIONS),
        metavar="NAME",
        help=f"default: {', '.join(CORRUPTIONS)}; also {', '.join(EXTRA)}",
    )
    parser.add_argument("--severities", nargs="+", type=int, default=list(SEVERITIES), metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of what corruptions draw")
    parser.add_argument("--cache-dir", help="keep the corrupted images, for other models")
    parser.add_argument("--processes", type=int, default=1, help="cells measured at once")
    parser.add_argument(
        "--base",
        nargs="+",
        default=[],
        metavar="WORK_DIR[:METRIC]",
        help="sweeps of classifiers against which errors are counted; METRIC: one of its heads",
    )
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args()


def read_base(text: str) -> tuple[Found, str]:
    """WORK_DIR[:METRIC] -> what was measured there, and the metric or ''."""
    place, _, metric = text.partition(":")
    found = read_found(place)
    if metric and metric not in found.clean:
        raise ValueError(f"--base {text}: no such metric, only {', '.join(chosen(found))}")
    return found, metric


def write(found: Found, bases: dict, work_dir: Path) -> str:
    """results.json and results.md; comes back as the latter's text."""
    content, text = dict(found._asdict(), summary=summary(found, bases)), markdown(found, bases)
    dump(content, work_dir / "results.json", backend_args=dict(backend="whole"))
    WholeFileBackend().put_text(text, work_dir / "results.md")
    return text


def own(text: str, work_dir: Path) -> bool:
    """Whether a base is this very sweep, another of its heads."""
    return Path(text.partition(":")[0]).resolve() == work_dir.resolve()


def main():
    args = parse_args()
    work_dir = Path(args.work_dir or f"work_dirs/{Path(args.config).stem}_robustness")
    before = {text: read_base(text) for text in args.base if not own(text, work_dir)}
    measurement = Measurement(
        args.config, args.checkpoint, args.seed, args.cfg_options, args.cache_dir
    )
    sweep = Sweep(measurement, work_dir, args.corruptions, args.severities)
    with ending_on_interrupt(lambda: "the same command goes on where it was"):
        found = sweep.run(args.processes, lambda line: print(line, flush=True))
    draw(found, work_dir / "results.png")
    write(found, {}, work_dir)  # whatever is wrong with a base
    bases = {text: before.get(text) or read_base(text) for text in args.base}
    text = write(found, bases, work_dir)
    print(f"\n{text}\n{work_dir / 'results.png'}")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, ImportError, FileNotFoundError) as error:
        sys.exit(f"robustness.py: {error}")
