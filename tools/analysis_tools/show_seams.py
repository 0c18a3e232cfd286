"""Is a painting in tiles the painting of the whole? Where the tiles meet, and elsewhere.

    python tools/analysis_tools/show_seams.py CONFIG CHECKPOINT CONTENT STYLE --tile 256

Paints CONTENT in STYLE whole and in tiles. Prints how far the two are apart, in levels of 255, and
how much that difference jumps from one pixel to the next: at the edges of tiles, where a seam would
be, and elsewhere. `--overlap 0` shows what a seam looks like. Writes both paintings and eight
times their difference, around grey, into one picture (--out, seams.png).
"""

import argparse
from pathlib import Path

import mmcv
import numpy as np

from robustnet_mm.datasets import LoadImage
from robustnet_mm.style_transfer import Stylizer
from robustnet_mm.style_transfer.sheets import write_picture
from robustnet_mm.style_transfer.stylizer import tiles


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


def jumps(difference: np.ndarray, edges: set[int]) -> tuple[list[float], list[float]]:
    """(H, W, 3) -> mean jump into each column: those that begin or end a tile, and the others."""
    each = np.abs(np.diff(difference, axis=1)).mean(axis=(0, 2))
    at = [each[column - 1] for column in sorted(edges)]
    return at, np.delete(each, [column - 1 for column in edges]).tolist()


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
    whole = paint(content, read)
    tiled = paint(content, read, tile=args.tile, overlap=args.overlap)
    difference = tiled.astype(np.float32) - whole
    spans = list(tiles(height, width, args.tile, args.overlap))
    at, elsewhere = [], []
    for side, turned in enumerate((difference.transpose(1, 0, 2), difference)):
        ends = {end for span in spans for end in (span[side].start, span[side].stop)}
        found = jumps(turned, ends - {0, (height, width)[side]})
        at, elsewhere = at + found[0], elsewhere + found[1]
    print(
        f"{width} x {height} pixels in {len(spans)} tiles: apart by "
        f"{np.abs(difference).mean():.2f} levels of 255 on average, {np.abs(difference).max():.0f} "
        f"at most\nthe difference jumps by {np.mean(at):.2f} at the edges of tiles, "
        f"{np.mean(elsewhere):.2f} elsewhere"
    )
    shown = (128 + 8 * difference).clip(0, 255).astype(np.uint8)
    write_picture(Path(args.out), np.concatenate([whole, tiled, shown], axis=1))


if __name__ == "__main__":
    main()
