"""Is a painting in tiles the painting of the whole? Where the tiles meet, and elsewhere.

    python tools/analysis_tools/show_seams.py CONFIG CHECKPOINT CONTENT STYLE --tile 256

Paints CONTENT in STYLE in tiles, and whole, for which there must be memory. Prints how far the two
are apart, in levels of 255, and how much that difference changes from one pixel to the next: where
two tiles fade into each other, which is where a seam would be, and elsewhere. `--overlap 0` shows
what a seam looks like. Writes both paintings and eight times their difference, around grey, into
one picture (--out, seams.png).
"""

import argparse
import itertools
from pathlib import Path

import mmcv
import numpy as np

from robustnet_mm.datasets import LoadImage
from robustnet_mm.style_transfer import Stylizer
from robustnet_mm.style_transfer.sheets import write_picture


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare a painting in tiles with the whole")
    parser.add_argument("config", help="config of a style transfer")
    parser.add_argument("checkpoint")
    parser.add_argument("content", help="a picture")
    parser.add_argument("style", help="a picture")
    parser.add_argument("--tile", type=int, default=256, help="side of a tile in pixels")
    parser.add_argument("--overlap", type=int, default=64, help="pixels that neighbours share")
    parser.add_argument("--style-size", type=int, help="scale the style down to it")
    parser.add_argument("--out", default="seams.png")
    return parser.parse_args()


def changes(difference: np.ndarray, spans: list[slice]) -> tuple[list[float], list[float]]:
    """Mean change of (H, W, 3) into each column: those that two of the spans share, and others."""
    each = np.abs(np.diff(difference, axis=1)).mean(axis=(0, 2))
    shared = np.zeros(difference.shape[1], bool)
    for one, following in itertools.pairwise(spans):
        shared[following.start : one.stop + 1] = True  # a change into the first column after, too
    return each[shared[1:]].tolist(), each[~shared[1:]].tolist()


def main():
    args = parse_args()
    paint, load = Stylizer(args.config, args.checkpoint), LoadImage()
    content, style = (mmcv.bgr2rgb(load.read(path)) for path in (args.content, args.style))
    height, width = content.shape[:2]
    if args.tile >= max(height, width):
        raise SystemExit(
            f"{args.content} has {width} x {height} pixels and is one tile of {args.tile}: "
            "give a smaller --tile"
        )
    read = [paint.read_style(style, args.style_size)]
    tiled = paint(content, read, tile=args.tile, overlap=args.overlap)
    whole = paint(content, read)
    difference = tiled.astype(np.float32) - whole
    spans = paint.tiles(height, width, args.tile, args.overlap)
    between, elsewhere = [], []
    for side, turned in enumerate((difference.transpose(1, 0, 2), difference)):
        of_side = sorted({(span[side].start, span[side].stop) for span in spans})
        found = changes(turned, [slice(*ends) for ends in of_side])
        between, elsewhere = between + found[0], elsewhere + found[1]
    apart = np.abs(difference)
    print(
        f"{width} x {height} pixels in {len(spans)} tiles: apart by {apart.mean():.2f} levels of "
        f"255 on average, {apart.max():.0f} at most\n"
        f"from pixel to pixel the difference changes by {np.mean(between):.2f} where tiles meet, "
        f"by {np.mean(elsewhere):.2f} elsewhere"
    )
    shown = (128 + 8 * difference).clip(0, 255).astype(np.uint8)
    write_picture(Path(args.out), np.concatenate([whole, tiled, shown], axis=1))


if __name__ == "__main__":
    main()
