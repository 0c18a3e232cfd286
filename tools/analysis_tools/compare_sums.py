"""How far is one weighted sum of heads ahead of another? Of the finished cells of a study.

    python tools/analysis_tools/compare_sums.py work_dirs/own_folders \
        --ours both --control cnn:cnn:1 vit:vit:3

A sum is a list of CELL[:HEAD[:WEIGHT]]. HEAD is cnn, vit, or sum (default): the cell's own
prediction. Of detectors, whose detections are united by NMS, it is a list of CELL. Prints both
means and their difference, paired by seed, with Student's 95 % interval over the seeds, and one
that holds the noise of the test images too: seeds and images drawn anew. If you make several
comparisons, give their number (--comparisons): the intervals widen to 1 - 0.05 / number.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np

from robustnet_mm.intervals import paired, resampled
from robustnet_mm.studies import score_of_draws


def term(text: str) -> tuple[str, str, float]:
    """CELL[:HEAD[:WEIGHT]] -> all three."""
    cell, _, rest = text.partition(":")
    head, _, weight = rest.partition(":")
    return cell, head or "sum", float(weight or 1)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare weighted sums of the heads of a study")
    parser.add_argument("study", type=Path, help="work dir of the study")
    terms = dict(type=term, nargs="+", required=True, metavar="CELL[:HEAD[:WEIGHT]]")
    parser.add_argument("--ours", **terms)
    parser.add_argument("--control", **terms)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: all that are finished")
    parser.add_argument(
        "--metric", default="coco/bbox_mAP", help="of detectors; or coco/segm_mAP, with _50, _75"
    )
    parser.add_argument("--comparisons", type=int, default=1, help="made in all (default: 1)")
    args = parser.parse_args()
    if args.comparisons < 1:
        parser.error(f"--comparisons must be 1 or more, got {args.comparisons}")
    return args


def finished_seeds(study: Path, cells: list[str]) -> list[int]:
    """The seeds with which each of the cells was trained to its end."""
    marks = [study.glob(f"{cell}/seed_*/finished.json") for cell in cells]
    seeds = [{int(mark.parent.name.removeprefix("seed_")) for mark in found} for found in marks]
    return sorted(set.intersection(*seeds))


def scores(study: Path, terms: list[tuple], seeds: list[int], metric: str) -> list[tuple]:
    """For each seed the number of images, and the score of the joined terms on drawn ones."""
    cells, heads, weights = zip(*terms, strict=True)
    folders = [[study / cell / f"seed_{seed}" for cell in cells] for seed in seeds]
    return [score_of_draws(of_seed, heads, weights, metric) for of_seed in folders]


def main():
    args = parse_args()
    cells = [cell for cell, *_ in args.ours + args.control]
    names, finished = ", ".join(cells), finished_seeds(args.study, cells)
    seeds = args.seeds or finished
    if missing := sorted(set(seeds) - set(finished)):
        raise SystemExit(f"seeds {missing} are not finished by all of {names}, only {finished}")
    if len(seeds) < 2:
        raise SystemExit(f"fewer than two seeds are finished by all of {names}: run the study")
    sides = [scores(args.study, terms, seeds, args.metric) for terms in (args.ours, args.control)]
    images = sides[0][0][0]
    ours, control = ([score for _, score in side] for side in sides)
    values = [[score(np.arange(images)) for score in side] for side in (ours, control)]
    level = 1 - 0.05 / args.comparisons
    lead = paired(*(dict(zip(seeds, side, strict=True)) for side in values), level)

    def ahead(k: int, drawn: np.ndarray) -> float:
        return ours[k](drawn) - control[k](drawn)

    draws = 2000 * args.comparisons  # as many beyond each end
    low, high = resampled(ahead, len(seeds), images, draws, level=level)
    style = ".2f" if max(map(max, values)) > 1 else ".3f"  # percent, or a precision
    first, second = (f"{statistics.fmean(side):{style}}" for side in values)
    mean, *ends = (f"{lead[name]:+{style}}" for name in ("mean", "low", "high"))
    print(
        f"{first} - {second} = {mean} [{', '.join(ends)}] over {len(seeds)} seeds, "
        f"[{low:+{style}}, {high:+{style}}] over these and {images} images, "
        f"{100 * level:.4g} % intervals"
    )


if __name__ == "__main__":
    main()
