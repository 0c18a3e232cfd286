"""Contact sheets: many small pictures in one."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np

from robustnet_mm.files import WholeFileBackend

SIDE = 160  # pixels of a picture on a sheet


def tile(rows: Sequence[Sequence[np.ndarray]], gap: int = 4) -> np.ndarray:
    """Pictures (H, W, 3) of one size, row by row, on white: one picture, uint8."""
    height, width = rows[0][0].shape[:2]
    sheet = np.full(
        (len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 3), 255, np.uint8
    )
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            top, left = r * (height + gap), c * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def on_sheet(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture, (SIDE, SIDE, 3)."""
    side = min(picture.shape[:2])
    top, left = ((whole - side) // 2 for whole in picture.shape[:2])
    cut = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """(H, W, 3) uint8 RGB, whole or not at all."""
    WholeFileBackend().put(cv2.imencode(".png", mmcv.rgb2bgr(pixels))[1].tobytes(), path)
