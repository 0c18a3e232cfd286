"""Paint photographs and videos in the style of paintings.

    python tools/stylize.py CONFIG CHECKPOINT --content PHOTOS... --style PAINTINGS... --out-dir DIR

PHOTOS and PAINTINGS are files, folders and patterns such as 'photos/*.jpg'. Every photo is painted
in every style, as DIR/painted/CONTENT_stylized_STYLE.png; DIR/index.html shows them all, and
DIR/sheet.png beside their originals. A video is painted frame by frame, into an .mp4 of that name.
Files that cannot be read are skipped and counted, and the exit code is then 1.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import lru_cache
from glob import glob
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmengine.config import DictAction
from mmengine.utils import track_iter_progress

from robustnet_mm.datasets import LoadImage
from robustnet_mm.engine.launch import make_work_dir
from robustnet_mm.files import WholeFileBackend
from robustnet_mm.look.index import write_index, write_thumbnail
from robustnet_mm.style_transfer.datasets import pictures_of
from robustnet_mm.style_transfer.hooks import tile as lay_out
from robustnet_mm.style_transfer.stylizer import PRESERVE, Stylizer, with_luminance_of

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
SHEET = 160  # pixels of a side on the sheet


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


def find(name: str, places: list[str], also: tuple[str, ...] = ()) -> list[str]:
    """Files, what is in folders, and what patterns match.

    Raises:
        ValueError: A place that holds nothing.
    """
    found = []
    for place in places:
        paths = [place] if Path(place).exists() else sorted(glob(place))
        if not paths:
            raise ValueError(f"--{name} {place} names no file, folder or pattern that matches")
        for path in paths:
            found += pictures_of(f"--{name}", path) if Path(path).is_dir() else [path]
    return found


class Reader:
    """Reads pictures as RGB, and counts those that cannot be read."""

    def __init__(self):
        self.load, self.skipped = LoadImage(), []
        self.load.skipped_by = None

    @lru_cache(maxsize=64)  # noqa: B019  (one reader for the whole program)
    def __call__(self, path: str) -> np.ndarray | None:
        try:
            return mmcv.bgr2rgb(self.load.read(path))
        except (OSError, ValueError) as error:
            self.skipped.append(str(error))
            return None


def jobs(contents: list[str], styles: list[str], args) -> Iterator[tuple[str, list[str], str]]:
    """(content, its styles, name of the result), in order."""
    if args.mix is not None and len(args.mix) != len(styles):
        raise ValueError(f"--mix takes a share for each of {len(styles)} styles, got {args.mix}")
    if args.one_to_one and len(contents) != len(styles):
        raise ValueError(f"--one-to-one: {len(contents)} contents and {len(styles)} styles")
    for k, content in enumerate(contents):
        if args.mix is not None:
            yield content, styles, "mix"
            continue
        for style in [styles[k]] if args.one_to_one else styles:
            yield content, [style], Path(style).stem


def paint_video(path: str, styles: list[np.ndarray], out: Path, stylize: Stylizer, args) -> None:
    """Frame by frame; the styles are read once. The file is there when it is whole.

    Raises:
        ValueError: It is no video that OpenCV reads.
    """
    video = cv2.VideoCapture(path)
    rate, good = video.get(cv2.CAP_PROP_FPS), video.isOpened()
    part, writer = out.with_name(f".{out.stem}.part.mp4"), None
    read = [stylize.read_style(style, args.style_size) for style in styles]
    try:
        while True:
            more, frame = video.read()
            if not more:
                break
            content = mmcv.bgr2rgb(frame)
            painted = stylize.paint(content, read, **paint_options(args))
            if args.preserve_color:
                painted = with_luminance_of(painted, content)
            if writer is None:
                size = painted.shape[1::-1]
                writer = cv2.VideoWriter(str(part), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
            writer.write(mmcv.rgb2bgr(painted))
    finally:
        video.release()
        if writer is not None:
            writer.release()
    if not good or writer is None:
        raise ValueError(f"{path} is no video that can be read: convert it to .mp4")
    part.replace(out)


def paint_options(args: argparse.Namespace) -> dict:
    return dict(alpha=args.alpha, shares=args.mix, tile=args.tile, overlap=args.overlap)


def write_picture(path: Path, pixels: np.ndarray):
    """(H, W, 3) uint8 RGB, whole or not at all."""
    WholeFileBackend().put(cv2.imencode(".png", mmcv.rgb2bgr(pixels))[1].tobytes(), path)


def square(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture on the sheet."""
    side = min(picture.shape[:2])
    top, left = ((whole - side) // 2 for whole in picture.shape[:2])
    cut = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return cv2.resize(cut, (SHEET, SHEET), interpolation=cv2.INTER_AREA)


def main():
    args = parse_args()
    contents, styles = find("content", args.content), find("style", args.style)
    todo = list(jobs(contents, styles, args))
    stylize, read = Stylizer(args.config, args.checkpoint, args.cfg_options), Reader()
    mask = None if args.mask is None else mmcv.imread(args.mask, "grayscale")
    if args.mask is not None and mask is None:
        raise ValueError(f"--mask {args.mask} cannot be read")
    out, rows = Path(args.out_dir), {}
    make_work_dir(str(out / "painted"), "--out-dir")
    try:
        for content, chosen, name in track_iter_progress(todo, file=sys.stderr):
            paintings = [read(path) for path in chosen]
            if any(painting is None for painting in paintings):
                continue
            name = f"{Path(content).stem}_stylized_{name}"
            if Path(content).suffix.lower() in VIDEOS:
                paint_video(content, paintings, out / "painted" / f"{name}.mp4", stylize, args)
                continue
            picture = read(content)
            if picture is None:
                continue
            painted = stylize(
                picture,
                paintings,
                mask=mask,
                preserve_color=args.preserve_color,
                max_size=args.max_size,
                style_size=args.style_size,
                **paint_options(args),
            )
            write_picture(out / "painted" / f"{name}.png", painted)
            write_thumbnail(out / "thumbnails" / "painted" / f"{name}.png", painted)
            rows.setdefault(content, [square(picture)]).append(square(painted))
    finally:  # an index of what there is
        if (out / "thumbnails").is_dir():
            write_index(out)
    if rows and not args.one_to_one and args.mix is None:
        blank = np.full((SHEET, SHEET, 3), 255, np.uint8)
        tops = [square(p) for p in map(read, styles) if p is not None]
        full = [row for row in rows.values() if len(row) == 1 + len(tops)]
        if full:
            sheet = lay_out([[blank, *tops], *full])
            write_picture(out / "sheet.png", sheet)
    print(f"\n{out / 'index.html'}")
    if read.skipped:
        lines = [f"skipped {len(read.skipped)} file(s):", *read.skipped]
        print("\n".join(lines), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
