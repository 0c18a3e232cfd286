"""Corrupted images: those of ImageNet-C, as a step of any host's pipeline."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from robustnet_mm.arguments import check_choice, check_whole
from robustnet_mm.files import WholeFileBackend
from robustnet_mm.registry import TRANSFORMS

# Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
# Perturbations", ICLR 2019: by kind, as their table 1 has them
KINDS = dict(
    noise=("gaussian_noise", "shot_noise", "impulse_noise"),
    blur=("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    weather=("snow", "frost", "fog", "brightness"),
    digital=("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
CORRUPTIONS = tuple(name for names in KINDS.values() for name in names)
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")  # theirs for validation
SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST = 32  # pixels of a side
_OWN_SEED = ("impulse_noise", "glass_blur")  # which do not use NumPy's


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Changes `img`, (H, W, 3) uint8 BGR, in place of the image that it was.

    What is drawn at random depends on the seed, the corruption, its severity and the image's own
    pixels, so that an image is the same in every run, for every model, in any order and process.

    Args:
        corruption: One of `CORRUPTIONS` or `EXTRA`.
        severity: 1 to 5.
        seed: Of what is drawn.
        cache_dir: Folder in which corrupted images are kept as PNG, and found again.

    Raises:
        ValueError: An argument, or an image that is too small or not of 8 bits.
        ImportError: The package imagecorruptions-imaug is missing.
    """

    def __init__(
        self, corruption: str, severity: int = 1, seed: int = 0, cache_dir: str | None = None
    ):
        check_choice("corruption", corruption, CORRUPTIONS + EXTRA)
        check_whole("severity", severity, SEVERITIES[0], SEVERITIES[-1])
        check_whole("seed", seed, 0)
        self._function = getattr(_library(), corruption)
        self.corruption, self.severity, self.seed = corruption, severity, seed
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results["img"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"Corrupt takes images (H, W, 3) of 8 bits, got {image.shape} {image.dtype} of "
                f"{results.get('img_path')}: put it before what normalises, and load in colour"
            )
        if min(image.shape[:2]) < SMALLEST:
            raise ValueError(
                f"corruptions need {SMALLEST} pixels a side, and {results.get('img_path')} has "
                f"{image.shape[0]} x {image.shape[1]}: leave it out, or resize before"
            )
        image = np.ascontiguousarray(image)
        said = f"{self.corruption} {self.severity} {self.seed} {image.shape}".encode()
        digest = hashlib.sha256(said + image.tobytes()).hexdigest()
        results["img"] = self._cached(image, digest)
        return results

    def _cached(self, image: np.ndarray, digest: str) -> np.ndarray:
        if self.cache_dir is None:
            return self._corrupted(image, digest)
        file = self.cache_dir / f"{self.corruption}-{self.severity}" / f"{digest[:32]}.png"
        kept = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.is_file() else None
        if kept is not None:
            return kept
        corrupted = self._corrupted(image, digest)
        WholeFileBackend().put(cv2.imencode(".png", corrupted)[1].tobytes(), file)
        return corrupted

    def _corrupted(self, image: np.ndarray, digest: str) -> np.ndarray:
        from PIL import Image

        seed = int(digest[-8:], 16)
        own = dict(seed=seed) if self.corruption in _OWN_SEED else {}
        before = np.random.get_state()
        np.random.seed(seed)
        try:
            found = self._function(Image.fromarray(image[..., ::-1]), self.severity, **own)
        finally:
            np.random.set_state(before)
        return np.ascontiguousarray(np.uint8(found)[..., ::-1])

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(corruption={self.corruption!r}, severity={self.severity}, "
            f"seed={self.seed}, cache_dir={self.cache_dir})"
        )


def _library():
    try:
        return import_module("imagecorruptions")
    except ImportError as error:
        raise ImportError(
            f"corruptions need {error.name}: pip install imagecorruptions-imaug (not "
            "imagecorruptions, which fails on today's NumPy)"
        ) from error
