"""Finds a JPEG whose picture stops early although the file ends as a whole one does.

A download that broke off and was closed with an end marker is valid to every decoder: OpenCV and
Pillow paint what is missing grey, or leave a progressive image without its finer scans, in silence.
"""

import io
import random
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import JpegImagePlugin

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers SOF0..SOF15: how a picture is coded
_PLAIN = (0xC0, 0xC1)  # Huffman coded, one block after the other
_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither stuffing, nor restart, nor fill byte
_GREY = 128  # of a block without data: all its coefficients are 0
_BLOCK = 8  # pixels of a block's side


class Layout(NamedTuple):
    """What the segments before the picture say."""

    spread: bool  # what a cut takes away is spread over the image, and not its last blocks
    progressive: bool  # scan after scan makes it finer
    inks: bool  # four colours: grey in the file is another colour as it is read
    turned: bool  # EXIF may turn the image when it is read
    scan: int  # where the first scan starts


def segments(content: bytes, at: int) -> Iterator[tuple[int, int]]:
    """(marker, its place) of each segment from a segment's place on; data of scans are passed."""
    while found := _MARKER.search(content, at):
        at = found.start()
        yield content[at + 1], at
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def layout(content: bytes) -> Layout | None:
    """Reads the segments before the picture; None for what is no JPEG."""
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    frame, components, turned = 0, 0, False
    for marker, at in segments(content, 2):
        if marker in _FRAMES:
            frame, components = marker, content[at + 9]
        elif marker == _APP1:
            turned |= content.startswith(b"Exif", at + 4)
        elif marker == _SCAN:
            spread = frame not in _PLAIN or content[at + 4] < components
            return Layout(spread, frame & 3 == 2, components > 3, turned, at)
    return None


def seems_filled(found: Layout, image: np.ndarray) -> bool:
    """Whether an image may end in blocks without data: in microseconds, and no verdict.

    Args:
        found: The segments of its file.
        image: (H, W) or (H, W, C), uint8, as a decoder gives it.
    """
    if found.spread:
        return True
    rows, sides = (slice(-_BLOCK, None), slice(_BLOCK)), (-1, 0)
    lines = [image[-1, rows[0]]]  # of the last block
    if found.turned:  # of each corner, to which EXIF may have turned it
        lines += [image[side, row] for side in sides for row in rows]
        lines += [image[row, side] for side in sides for row in rows]
    return any((line == (line[0] if found.inks else _GREY)).all() for line in lines)


def is_unrefined(content: bytes, scan: int) -> bool:
    """Whether bits of a progressive picture that were left to a later scan have not come."""
    left: dict[tuple[int, int], int] = {}  # (component, coefficient) -> bits to come
    for marker, at in segments(content, scan):
        if marker == _END:
            break
        if marker == _SCAN:
            names = content[at + 5 : at + 5 + 2 * content[at + 4] : 2]
            first, last, bits = content[at + 5 + 2 * len(names) : at + 8 + 2 * len(names)]
            left |= {(name, k): bits & 15 for name in names for k in range(first, last + 1)}
    return any(left.values())


@cache
def padding() -> bytes:
    """Data of a scan that look like any other, with each restart marker in between."""
    chance = random.Random(0)
    parts = (bytes(chance.randrange(255) for _ in range(32)) for _ in range(8))
    return b"".join(part + bytes((0xFF, 0xD0 + k)) for k, part in enumerate(parts))


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(JpegImagePlugin.JpegImageFile(io.BytesIO(content)))


def ends_early(content: bytes, image: np.ndarray) -> bool:
    """Whether the data of a JPEG end before its picture does.

    To an image that may be cut, data are added before its end marker: a decoder passes over them
    where the picture is whole, and reads them as blocks that lack where it is not. This takes two
    more decodes; of an image that ends in a block of another colour than grey, and is not
    progressive, only the first bytes are looked at.

    Args:
        content: The file's.
        image: (H, W) or (H, W, C), uint8, as a decoder gives it.
    """
    try:
        found = layout(content)
        if found is None or not seems_filled(found, image):
            return False
        end = next((at for marker, at in segments(content, found.scan) if marker == _END), None)
        if found.progressive and is_unrefined(content, found.scan):
            return True
        data = content[:end].rstrip(b"\xff")  # fill bytes
        padded = decoded(data + padding() + b"\xff\xd9")
        if np.array_equal(padded[..., ::-1], image):  # the usual case: one decoder wrote both
            return False
        return not np.array_equal(padded, decoded(data + b"\xff\xd9"))
    except Exception:  # Pillow's plugins raise anything: what they cannot read, they cannot judge
        return False
