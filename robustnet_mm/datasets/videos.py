"""Videos, frame by frame, by OpenCV; sound is not kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")


class UnreadableVideoError(ValueError):
    """A file that OpenCV does not read to its end, or a place where it cannot write."""


def frames_of(source: str | Path) -> Iterator[np.ndarray]:
    """The frames of a video, (H, W, 3) uint8 RGB.

    Raises:
        UnreadableVideoError: After the last one, where OpenCV did not read to the end.
    """
    video, number = cv2.VideoCapture(str(source)), 0
    try:
        while True:
            more, frame = video.read()
            if not more:
                break
            number += 1
            yield np.ascontiguousarray(frame[..., ::-1])
        stated = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        video.release()
    if not number or number < stated:
        raise UnreadableVideoError(
            f"{source} can be read for {number} of {max(stated, 0)} frames only: convert it to .mp4"
        )


def rate_of(source: str | Path) -> float:
    """Frames a second; 25 where the file does not say."""
    video = cv2.VideoCapture(str(source))
    try:
        return video.get(cv2.CAP_PROP_FPS) or 25.0
    finally:
        video.release()


def change_video(
    source: str | Path, target: str | Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """A video whose every frame was changed, as an .mp4 that is there when it is whole.

    Args:
        source: The video.
        target: The .mp4.
        change: Frame (H, W, 3) uint8 RGB -> another, of one size for all.

    Raises:
        UnreadableVideoError: It is no video that OpenCV reads to its end, or writes.
    """
    writer, rate, target = None, rate_of(source), Path(target)
    part = target.with_name(f".{target.stem}.part.mp4")
    try:
        for frame in frames_of(source):
            changed = change(frame)
            if writer is None:
                size, code = changed.shape[1::-1], cv2.VideoWriter_fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(part), code, rate, size)
                if not writer.isOpened():
                    raise UnreadableVideoError(
                        f"OpenCV cannot write {target} ({rate} frames a second)"
                    )
            writer.write(np.ascontiguousarray(changed[..., ::-1]))
        writer.release()
        part.replace(target)
    finally:
        if writer is not None:
            writer.release()
        part.unlink(missing_ok=True)
