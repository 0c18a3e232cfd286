"""Run a study: one base config, a grid of differences, several seeds; table, intervals, plots.

    DATA_ROOT=data/own CNN_WEIGHTS=mobilenet_v2.pth VIT_WEIGHTS=deit_tiny_patch16_224.pth \
        python tools/analysis_tools/study.py configs/studies/own_folders.py --processes 2

What stands in the config of a study: robustnet_mm/studies/grid.py. Every cell is a training of its
own by tools/train.py; what has finished is skipped, and what was interrupted goes on from its last
epoch. Writes results.json, results.md, curves.png and differences.png into the work dir at the
end; `--report` does it at any time, of what has finished.
"""

import argparse
import sys
from pathlib import Path

from mmengine.logging import MMLogger

from robustnet_mm.studies import cells_of, check_cells, collect, config_of, read_study, train_all
from robustnet_mm.studies.report import write
from robustnet_mm.studies.run import alone_in, has_finished, jobs_of

TRAIN = Path(__file__).resolve().parents[1] / "train.py"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a study")
    parser.add_argument("study", help="config of the study")
    parser.add_argument("--work-dir", help="default: work_dirs/<name of the study>")
    parser.add_argument("--processes", type=int, default=1, help="trainings that run at once")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each training")
    parser.add_argument("--only", nargs="+", metavar="CELL", help="train these cells only")
    parser.add_argument("--dry-run", action="store_true", help="check, list what would be trained")
    parser.add_argument("--report", action="store_true", help="train nothing, write what is there")
    parser.add_argument("--keep-checkpoints", action="store_true", help="of finished cells")
    return parser.parse_args()


def say(line: str):
    """In one write: print's newline comes in a second, and another thread's line before it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    args = parse_args()
    MMLogger.get_instance("study", log_level="WARNING")  # or each config names its variables
    study = read_study(args.study)
    out = Path(args.work_dir or Path("work_dirs") / Path(args.study).stem)
    cells = cells_of(study)
    configs = {name: config_of(study, changes, 0, out) for name, changes in cells.items()}
    check_cells(configs, study.common)
    for name in args.only or ():
        if name not in cells:
            raise ValueError(f"--only takes {', '.join(cells)}, got {name!r}")
    chosen = {name: cells[name] for name in args.only or cells}
    if args.dry_run:
        for name, seed, cfg in jobs_of(study, chosen, out):
            say(f"{name} seed {seed}: {'was finished' if has_finished(cfg) else 'to be trained'}")
        return
    failures = []
    if not args.report:
        with alone_in(out):
            failures = train_all(
                study,
                chosen,
                out,
                TRAIN,
                say=say,
                processes=args.processes,
                threads=args.threads,
                keep_checkpoints=args.keep_checkpoints,
            )
    runs = collect(study, out)
    if not runs:
        why = failures or "train it first"
        raise ValueError(f"no cell of {args.study} has finished in {out}: {why}")
    print(write(runs, study, out))
    if failures:
        sys.exit(f"{len(failures)} trainings failed:\n" + "\n".join(failures))


if __name__ == "__main__":
    main()
