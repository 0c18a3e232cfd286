"""An image loader that names the broken file, or skips it, where mmcv's passes it on in silence."""

import io
import logging
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.logging import print_log
from PIL import Image

from robustnet_mm.arguments import check_choice
from robustnet_mm.datasets.cut_files import ends_early
from robustnet_mm.registry import TRANSFORMS

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# first bytes of a format -> the marker that ends a whole file of it
END_MARKERS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND"}
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow's, of more than 8 bits
TAIL = 64  # bytes: room for the padding that some writers add after the marker


def seems_cut(content: bytes) -> bool:
    """True if a JPEG or PNG file has no end marker in its last bytes.

    A whole file can seem cut (cameras append data after the image), so this asks for a closer look
    and is no verdict. It reads 64 bytes: some versions of OpenCV decode a truncated JPEG without a
    word, the missing part grey, and decoding each file twice would halve the speed. A cut file that
    was closed with a marker is `cut_files.ends_early`'s to find.
    """
    tail = content[-TAIL:]
    return any(content.startswith(k) and end not in tail for k, end in END_MARKERS.items())


def mode_of(content: bytes) -> str | None:
    """Pillow's word for the pixels of an image, from its header; None where it knows none."""
    try:
        return Image.open(io.BytesIO(content)).mode
    except Exception:  # as below
        return None


def why_broken(content: bytes) -> str | None:
    """Decodes a file's content with Pillow, which is strict: the reason it fails, None if whole."""
    if not content:
        return "the file is empty"
    try:
        Image.open(io.BytesIO(content)).load()
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, ...
        return str(error)
    return None


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's LoadImageFromFile (same keys, same arguments) that does not let broken files through.

    Missing, empty, undecodable and truncated files are an error that names the file. With
    `on_error='skip'` such a sample is None, and mmengine draws another one in its place; each file
    skipped is logged once, with the count so far in this process. Use it for training only: in val
    and test another sample in its place would falsify the result (`check_data` refuses that).

    Args:
        on_error: 'raise' or 'skip'.
        **kwargs: as in mmcv's LoadImageFromFile (`to_float32`, `color_type`, `imdecode_backend`,
            `backend_args`).
    """

    def __init__(self, on_error: str = "raise", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("on_error", on_error, ("raise", "skip"))
        if self.ignore_empty or self.file_client_args:
            raise ValueError(
                "ignore_empty and file_client_args are not taken by LoadImage: use "
                "on_error='skip' and backend_args"
            )
        self.on_error = on_error
        self.skipped_by: str | None = "LoadImage(on_error='skip')"  # the setting, for the error
        self.skipped: set[str] = set()

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Adds `img` (H, W, C) uint8 BGR, `img_shape` and `ori_shape` (H, W) to `results`.

        Returns:
            `results`, or None if the file at `results['img_path']` is broken and skipped.
        """
        path = results["img_path"]
        try:
            image = self.read(path)
        except (OSError, ValueError) as error:
            if self.on_error == "raise":
                raise
            self._warn(path, error)
            return None
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def read(self, path: str) -> np.ndarray:
        """Reads and decodes a file: (H, W, C) uint8."""
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the image {path} is not there: check data_root and data_prefix, or take it out "
                "of the annotation"
            ) from error
        image, reason = None, None
        if self.imdecode_backend == "pillow" and (mode := mode_of(content)) in WIDE_MODES:
            raise ValueError(
                f"the image {path} has pixels of more than 8 bits (mode {mode}), which Pillow cuts "
                "off at white: set imdecode_backend='cv2', which scales 16 bits to 8, or convert it"
            )
        try:
            image = mmcv.imfrombytes(content, self.color_type, backend=self.imdecode_backend)
        except Exception as error:  # each decoder has its own exceptions
            reason = str(error)
        if image is None or seems_cut(content):
            reason = why_broken(content) or reason
        if image is not None and not reason and ends_early(content, image):
            reason = "its data end before the picture does"
        if image is None or reason:
            skip = f", or train without it by {self.skipped_by}" if self.skipped_by else ""
            raise ValueError(
                f"the image {path} is broken ({reason or 'it cannot be decoded'}): restore the "
                f"file, take it out of the annotation{skip}"
            )
        if image.dtype != np.uint8:
            raise ValueError(
                f"the image {path} was read as {image.dtype}, and the preprocessor's mean and std "
                "are those of 8 bits: set color_type='color', or convert it"
            )
        return image

    def _warn(self, path: str, error: Exception) -> None:
        if path in self.skipped:
            return
        self.skipped.add(path)
        print_log(
            f"LoadImage skipped {len(self.skipped)} image(s) so far in this process, now: {error}",
            logger="current",
            level=logging.WARNING,
        )

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, on_error={self.on_error!r})"
