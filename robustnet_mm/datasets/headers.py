"""Sizes and orientation marks of image files, from their headers; kept for large sets.

The first look at 100,000 files on a slow disk takes minutes, so what was read lies in a file for
each image folder, in the user's cache. An entry holds as long as the image's time and size do.
"""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log
from PIL import Image

from robustnet_mm.files import WholeFileBackend

LARGE = 1000  # images from which on the headers are kept
THREADS = 8  # they wait for the disk
_PART = 32  # images that a thread takes at a time
_ORIENTATION = 274  # EXIF: 1 as it is, 2..4 mirrored or upside down, 5..8 on its side
_TAIL = 1 << 16  # bytes at the end of a PNG in which a late EXIF chunk is looked for


class Header(NamedTuple):
    """What the header of an image file says."""

    width: int  # as Pillow says it: of the file as it lies, but turned in TIFF
    height: int
    mark: int  # of orientation, 1 where there is none
    kind: str  # 'JPEG', 'PNG', ...


def late_exif(path: str) -> bytes:
    """The EXIF data that some writers put behind a PNG's pixels; empty where there is none."""
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - _TAIL, 0))
        tail = file.read()
    at = tail.rfind(b"eXIf")
    size = int.from_bytes(tail[max(at - 4, 0) : at], "big")
    end = at + 4 + size
    whole = at >= 4 and tail[end : end + 4] == zlib.crc32(tail[at:end]).to_bytes(4, "big")
    return tail[at + 4 : end] if whole else b""


def read_header(path: str) -> Header | None:
    """Reads a file's header; None for what Pillow cannot read, which is the loader's to tell."""
    try:
        with Image.open(path) as header:
            if header.format == "PNG" and "exif" not in header.info and (data := late_exif(path)):
                header.info["exif"] = data
            # PngImageFile's own would decode the whole image to find late data
            mark = Image.Image.getexif(header).get(_ORIENTATION, 1)
            return Header(*header.size, int(mark) if mark in range(1, 9) else 1, str(header.format))
    except Exception:  # Pillow's plugins raise anything
        return None


def cache_file(folder: Path) -> Path:
    """Where the headers of a folder's images are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    name = hashlib.sha256(os.path.abspath(folder).encode()).hexdigest()[:32]
    return Path(cache, "robustnet_mm", "headers", f"{name}.json")


def load_cache(path: Path) -> dict[str, list]:
    """Name -> [time, bytes, *Header] of what was kept; empty where it cannot be read."""
    try:
        if not path.exists():
            return {}
        kept = json.loads(path.read_bytes())
        kinds = (int, int, int, int, int, str)
        for name, entry in kept.items():
            if len(entry) != 6 or not all(map(isinstance, entry, kinds)):
                raise ValueError(f"entry {name!r} is {entry!r}")
        return kept
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _say(f"the kept headers {str(path)!r} are damaged ({error}): they are read anew")
        return {}


def save_cache(path: Path, kept: dict[str, list]) -> None:
    """Writes the file whole or not at all; where it cannot be written, the next run is slower."""
    try:
        WholeFileBackend().put_text(json.dumps(kept), path)
    except OSError as error:
        _say(f"the headers cannot be kept in {str(path)!r} ({error}): the next run reads them anew")


def read_headers(folder: Path, names: Sequence[str]) -> list[Header | None]:
    """The headers of image files, those of large sets from the cache where it has them.

    Args:
        folder: Where the images are.
        names: Their paths in it.

    Returns:
        One for each name; None for what cannot be read.
    """
    Image.init()  # not in each thread
    paths, large = [os.path.join(folder, name) for name in names], len(names) > LARGE
    with ThreadPoolExecutor(THREADS) as pool:
        if not large:
            return _spread(pool, read_header, paths)
        kept, stamps = load_cache(cache_file(folder)), _spread(pool, _stamp, paths)
        new = [k for k, name in enumerate(names) if kept.get(name, [])[:2] != stamps[k]]
        if len(new) > LARGE:
            _say(f"reading the headers of {len(new)} images, once; later runs use the cache")
        headers = _spread(pool, read_header, [paths[k] for k in new])
    for k, header in zip(new, headers, strict=True):
        kept.pop(names[k], None)
        if header:
            kept[names[k]] = [*stamps[k], *header]
    if any(headers):
        save_cache(cache_file(folder), kept)
    return [Header(*kept[name][2:]) if name in kept else None for name in names]


def _spread(pool: ThreadPoolExecutor, function: Callable, paths: list[str]) -> list:
    """A function's results for each path, by a part for each thread: handing over costs time."""
    parts = [paths[k : k + _PART] for k in range(0, len(paths), _PART)]
    results = pool.map(lambda part: [function(path) for path in part], parts)
    return [result for part in results for result in part]


def _stamp(path: str) -> list[int]:
    """A file's time in nanoseconds and its size."""
    try:
        state = os.stat(path)
    except OSError:
        return []
    return [state.st_mtime_ns, state.st_size]


def _say(message: str) -> None:
    print_log(message, logger="current", level=logging.INFO)
