"""Paint photographs and videos in the style of paintings.

    python tools/stylize.py CONFIG CHECKPOINT --content PHOTOS... --style PAINTINGS... --out-dir DIR

PHOTOS and PAINTINGS are files, folders and patterns such as 'photos/*.jpg'. Every photo is painted
in every style, as DIR/painted/CONTENT_stylized_STYLE.png; DIR/index.html shows the pictures, and
DIR/sheet.png shows them beside their originals. A video is painted frame by frame, without sound,
into an .mp4 of that name. What cannot be read or painted is skipped and told, and the exit code is
then 1.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np
from mmengine.config import DictAction
from mmengine.utils import track_iter_progress
from torch import Tensor

from robustnet_mm.datasets import IMAGE_SUFFIXES, LoadImage
from robustnet_mm.datasets.pictures import find_pictures
from robustnet_mm.datasets.videos import VIDEO_SUFFIXES, change_video
from robustnet_mm.engine.launch import make_work_dir
from robustnet_mm.look.index import write_index, write_thumbnail
from robustnet_mm.style_transfer.colors import match_colors
from robustnet_mm.style_transfer.sheets import SIDE, on_sheet, tile, write_picture
from robustnet_mm.style_transfer.stylizer import PRESERVE, Stylizer


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Paint contents in styles")
    parser.add_argument("config", help="config of a style transfer")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--content", nargs="+", required=True, help="pictures, folders, videos")
    parser.add_argument("--style", nargs="+", required=True, help="pictures, folders")
    parser.add_argument("--out-dir", required=True, help="where the pictures go")
    parser.add_argument("--one-to-one", action="store_true", help="first in first, and so on")
    parser.add_argument("--alpha", type=float, default=1.0, help="0: no style; 1: in full")
    parser.add_argument(
        "--mix", nargs="+", type=float, metavar="SHARE", help="all styles in one, so much of each"
    )
    parser.add_argument("--mask", help="picture of the content's size, white where the style goes")
    parser.add_argument("--preserve-color", choices=PRESERVE, help="of the content")
    parser.add_argument("--max-size", type=int, help="longer side of a content; larger ones shrink")
    parser.add_argument("--style-size", type=int, help="the same for a style")
    parser.add_argument("--tile", type=int, help="paint in pieces of this side, to save memory")
    parser.add_argument("--overlap", type=int, default=64, help="pixels that pieces share")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args()


class Job(NamedTuple):
    """A content, the styles that it is painted in, and the name of the result."""

    content: str
    styles: list[str]
    name: str


def jobs(contents: list[str], styles: list[str], args: argparse.Namespace) -> list[Job]:
    """In order; a name that came before gets a number.

    Raises:
        ValueError: Shares or pairs that do not fit the number of styles.
    """
    if args.mix is not None and len(args.mix) != len(styles):
        raise ValueError(f"--mix takes a share for each of {len(styles)} styles, got {args.mix}")
    if args.one_to_one and len(contents) != len(styles):
        raise ValueError(f"--one-to-one: {len(contents)} contents and {len(styles)} styles")
    if args.mix is not None:
        pairs = [(content, styles, "mix") for content in contents]
    elif args.one_to_one:
        pairs = [(c, [s], Path(s).stem) for c, s in zip(contents, styles, strict=True)]
    else:
        pairs = [(c, [s], Path(s).stem) for c in contents for s in styles]
    found, times = [], Counter()
    for content, chosen, style in pairs:
        name = f"{Path(content).stem}_stylized_{style}"
        times[name] += 1
        found.append(Job(content, chosen, name + (f"-{times[name]}" if times[name] > 1 else "")))
    return found


class Painter:
    """Paints the jobs; what was read of a style is kept for the next content.

    Args:
        args: Of the command line.

    Attributes:
        skipped: Path -> why it could not be read or painted.
        rows: Content -> its small copy and those of its painted pictures.
    """

    def __init__(self, args: argparse.Namespace):
        self.stylize = Stylizer(args.config, args.checkpoint, args.cfg_options)
        self.args, self.out = args, Path(args.out_dir)
        self.load, self.skipped, self.rows = LoadImage(), {}, {}
        self.mask = None if args.mask is None else mmcv.imread(args.mask, "grayscale")
        if args.mask is not None and self.mask is None:
            raise ValueError(f"--mask {args.mask} cannot be read as a picture: name another file")
        self.styles: dict[str, Tensor] = {}

    def read(self, path: str) -> np.ndarray:
        """(H, W, 3) uint8, RGB"""
        return mmcv.bgr2rgb(self.load.read(path))

    def style(self, path: str, content: np.ndarray) -> Tensor:
        """What the model reads of a style, with the content's colours where that is asked for."""
        size, way = self.args.style_size, self.args.preserve_color
        if way == "match":
            return self.stylize.read_style(match_colors(self.read(path), content), size)
        if path not in self.styles:
            self.styles[path] = self.stylize.read_style(self.read(path), size)
        return self.styles[path]

    def paint(self, content: np.ndarray, styles: list[Tensor]) -> np.ndarray:
        args = self.args
        return self.stylize(
            content,
            styles,
            mask=self.mask,
            preserve_color="luminance" if args.preserve_color == "luminance" else None,
            max_size=args.max_size,
            alpha=args.alpha,
            shares=args.mix,
            tile=args.tile,
            overlap=args.overlap,
        )

    def run(self, job: Job) -> None:
        """Paint one; what cannot be read or painted is kept in `skipped`."""
        for path in (job.content, *job.styles):
            if path in self.skipped:
                return
        path = job.content
        try:
            if Path(path).suffix.lower() in VIDEO_SUFFIXES:
                self.paint_video(job)
                return
            content, styles = self.read(path), []
            for path in job.styles:
                styles.append(self.style(path, content))
            path = job.content
            painted = self.paint(content, styles)
        except (OSError, ValueError, MemoryError) as error:
            self.skipped[path] = str(error)
            return
        write_picture(self.out / "painted" / f"{job.name}.png", painted)
        write_thumbnail(self.out / "thumbnails" / "painted" / f"{job.name}.png", painted)
        self.rows.setdefault(path, [on_sheet(content)]).append(on_sheet(painted))

    def paint_video(self, job: Job) -> None:
        """Frame by frame; the styles are read once.

        Raises:
            ValueError: It is no video that OpenCV reads to its end, or writes.
        """
        styles = []

        def paint(frame: np.ndarray) -> np.ndarray:
            styles[:] = styles or [self.style(path, frame) for path in job.styles]
            return self.paint(frame, styles)

        change_video(job.content, self.out / "painted" / f"{job.name}.mp4", paint)

    def write_sheet(self) -> None:
        """Contents by styles, small, where every content was painted in every style."""
        most = max(map(len, self.rows.values()), default=0)
        tops = [path for path in self.styles if path not in self.skipped]
        if most != 1 + len(tops) or not tops:
            return
        blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
        rows = [[blank, *(on_sheet(self.read(path)) for path in tops)]]
        rows += [row for row in self.rows.values() if len(row) == most]
        write_picture(self.out / "sheet.png", tile(rows))


def main():
    args = parse_args()
    contents = find_pictures("--content", args.content, IMAGE_SUFFIXES + VIDEO_SUFFIXES)
    todo = jobs(contents, find_pictures("--style", args.style), args)
    painter, out = Painter(args), Path(args.out_dir)
    if not 0 <= args.alpha <= 1:
        raise ValueError(f"--alpha must be in 0..1, got {args.alpha}")
    make_work_dir(str(out / "painted"), "--out-dir")
    try:
        for job in track_iter_progress(todo, file=sys.stderr):
            painter.run(job)
    finally:  # an index of what there is
        if (out / "thumbnails").is_dir():
            write_index(out)
            print(f"\n{out / 'index.html'}")
    if not args.one_to_one and args.mix is None:
        painter.write_sheet()
    if painter.skipped:
        lines = [f"{path}: {reason}" for path, reason in painter.skipped.items()]
        print("\n".join([f"skipped {len(lines)} file(s):", *lines]), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
