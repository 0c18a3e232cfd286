"""How far is one weighted sum of heads ahead of another? Of the finished cells of a study.

    python tools/analysis_tools/compare_sums.py work_dirs/own_folders \
        --ours both --control cnn:cnn:1 vit:vit:3

A sum is a list of CELL[:HEAD[:WEIGHT]]. HEAD is cnn, vit, or sum (default): the cell's own
prediction. Prints both means and their difference, paired by seed, with Student's 95 % interval
over the seeds, and one that holds the noise of the test images too: seeds and images drawn anew.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from robustnet_mm.analysis.study import paired, resampled, right_images


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
    return parser.parse_args()


def finished_seeds(study: Path, cells: list[str]) -> list[int]:
    """The seeds with which each of the cells was trained to its end."""
    marks = [study.glob(f"{cell}/seed_*/finished.json") for cell in cells]
    seeds = [{int(mark.parent.name.removeprefix("seed_")) for mark in found} for found in marks]
    return sorted(set.intersection(*seeds))


def right_answers(study: Path, terms: list[tuple], seeds: list[int]) -> np.ndarray:
    """(seeds, images): 100 where the sum of the terms names the class, else 0."""
    cells, heads, weights = zip(*terms, strict=True)
    folders = [[study / cell / f"seed_{seed}" for cell in cells] for seed in seeds]
    right = [right_images(of_seed, heads, weights) for of_seed in folders]
    return 100 * torch.stack(right).double().numpy()


def main():
    args = parse_args()
    cells = [cell for cell, *_ in args.ours + args.control]
    names, finished = ", ".join(cells), finished_seeds(args.study, cells)
    seeds = args.seeds or finished
    if missing := sorted(set(seeds) - set(finished)):
        raise SystemExit(f"seeds {missing} are not finished by all of {names}, only {finished}")
    if len(seeds) < 2:
        raise SystemExit(f"fewer than two seeds are finished by all of {names}: run the study")
    ours, control = (right_answers(args.study, side, seeds) for side in (args.ours, args.control))
    lead = paired(*(dict(zip(seeds, side.mean(1), strict=True)) for side in (ours, control)))
    low, high = resampled(ours - control)
    print(
        f"{ours.mean():.2f} - {control.mean():.2f} = {lead['mean']:+.2f} "
        f"[{lead['low']:+.2f}, {lead['high']:+.2f}] over {len(seeds)} seeds, "
        f"[{low:+.2f}, {high:+.2f}] over these and {ours.shape[1]} images"
    )


if __name__ == "__main__":
    main()
