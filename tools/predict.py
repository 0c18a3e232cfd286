"""What a trained model says of images and videos, as files and as pictures.

    python tools/predict.py CONFIG CHECKPOINT IMAGES... --out-dir DIR

IMAGES are files, folders, patterns such as 'photos/*.jpg', and videos. DIR/predictions.json has the
detections in COCO format, DIR/predictions.csv the classes, DIR/labels the label maps;
DIR/pictures shows them, and a video becomes an .mp4 there. What cannot be read is skipped and told,
and the exit code is then 1.
"""

import argparse
import sys
from itertools import count
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import DictAction
from mmengine.utils import track_iter_progress

from robustnet_mm.datasets import IMAGE_SUFFIXES
from robustnet_mm.datasets.pictures import find_pictures
from robustnet_mm.datasets.videos import (
    VIDEO_SUFFIXES,
    UnreadableVideoError,
    change_video,
    frames_of,
)
from robustnet_mm.engine.launch import ending_on_interrupt, make_work_dir
from robustnet_mm.engine.trained import TrainedModel, UnreadableImageError
from robustnet_mm.inference import Drawer, writer_for


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Predict on images and videos")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("images", nargs="+", help="files, folders, patterns, videos")
    parser.add_argument("--out-dir", required=True, help="where the results go")
    parser.add_argument("--score-thr", type=float, default=0.3, help="of detections")
    parser.add_argument("--no-pictures", action="store_true", help="files of numbers alone")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    if not 0 <= args.score_thr <= 1:
        parser.error(f"--score-thr must be in 0..1, got {args.score_thr}")
    return args


class Predictor:
    """Asks a model about files, one after the other.

    Args:
        args: Of the command line.

    Attributes:
        skipped: Path -> why it could not be read.
    """

    def __init__(self, args: argparse.Namespace):
        self.trained = TrainedModel(args.config, args.checkpoint, args.cfg_options)
        self.writer = writer_for(self.trained, args.score_thr)
        self.draw = None if args.no_pictures else Drawer(self.trained, args.score_thr)
        self.pictures, self.skipped, self._names = Path(args.out_dir, "pictures"), {}, set()
        if self.draw is not None:
            make_work_dir(str(self.pictures), "--out-dir")

    def run(self, path: str) -> None:
        """An image or a video; one that cannot be read goes to `skipped`."""
        stem = Path(path).stem
        names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        try:
            if Path(path).suffix.lower() in VIDEO_SUFFIXES:
                self._video(path, name)
            else:
                drawn = self._ask(self.trained.load(path), path, name)
                if drawn is not None:
                    mmcv.imwrite(mmcv.rgb2bgr(drawn), str(self.pictures / f"{name}.png"))
        except (UnreadableImageError, UnreadableVideoError) as error:
            self.skipped[path] = str(error)

    def _ask(self, loaded: dict, path: str, name: str) -> np.ndarray | None:
        """The answer goes into the file; comes back drawn, (H, W, 3) uint8 RGB."""
        pixels = mmcv.bgr2rgb(loaded["img"]).astype(np.uint8)
        sample = self.trained.answer(loaded)
        self.writer.add(path, name, sample)
        return None if self.draw is None else self.draw(pixels, sample)

    def _video(self, path: str, name: str) -> None:
        numbers = count(1)

        def ask(frame: np.ndarray) -> np.ndarray | None:
            size, number = frame.shape[:2], next(numbers)
            loaded = dict(img_path=path, img_id=0, img=mmcv.rgb2bgr(frame))
            loaded |= dict(img_shape=size, ori_shape=size)
            return self._ask(loaded, f"{path}#{number}", f"{name}#{number:06d}")

        if self.draw is not None:
            change_video(path, self.pictures / f"{name}.mp4", ask)
        else:
            for frame in frames_of(path):
                ask(frame)


def main():
    args = parse_args()
    paths = find_pictures("IMAGES", args.images, IMAGE_SUFFIXES + VIDEO_SUFFIXES)
    out = Path(args.out_dir).resolve()
    paths = [path for path in paths if out not in Path(path).resolve().parents]  # of a run before
    make_work_dir(args.out_dir, "--out-dir")
    predictor = Predictor(args)
    try:
        with ending_on_interrupt(lambda: "what was predicted until then is written"):
            for path in track_iter_progress(paths, file=sys.stderr):
                predictor.run(path)
    finally:
        print(f"\n{predictor.writer.write(Path(args.out_dir))}")
    if predictor.skipped:
        lines = [f"{path}: {reason}" for path, reason in predictor.skipped.items()]
        print("\n".join([f"skipped {len(lines)} file(s):", *lines]), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
