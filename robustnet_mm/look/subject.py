"""A config and a checkpoint as a model to look into, and images as that model sees them."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustnet_mm.attention.masks import VOID, default_foreground, need_classes
from robustnet_mm.datasets.loading import IMAGE_SUFFIXES
from robustnet_mm.datasets.pictures import pictures_in
from robustnet_mm.engine.trained import TrainedModel, UnreadableImageError

from .detections import Annotations
from .label_maps import LabelMaps


class Picture(NamedTuple):
    """One image as a model sees it."""

    path: str
    pixels: np.ndarray  # (H, W, 3) uint8, RGB, after the test pipeline, without padding
    images: Tensor  # (1, 3, H', W'), after the data preprocessor, padding included
    sample: object  # the host's data sample

    @property
    def aspect(self) -> float:
        """Width / height."""
        return self.pixels.shape[1] / self.pixels.shape[0]

    def crop(self, maps: np.ndarray) -> np.ndarray:
        """Maps of any stride over the padded image (..., h', w') -> over the image (..., h, w)."""
        pairs = zip(maps.shape[-2:], self.pixels.shape, self.images.shape[-2:], strict=False)
        h, w = (max(1, ceil(side * own / padded)) for side, own, padded in pairs)
        return maps[..., :h, :w]


class Subject(TrainedModel):
    """A `TrainedModel` that is looked into; its arguments and errors are those.

    Attributes:
        is_detector: Whether the model is a detector.
        is_segmentor: Whether the model is a semantic segmentor.
    """

    def __init__(self, config: str, checkpoint: str, cfg_options: dict | None = None):
        super().__init__(config, checkpoint, cfg_options)
        self.is_detector, self.is_segmentor = self.host.detects, self.host.segments
        self._annotations, self._label_maps = {}, None

    def picture(self, source: Picture | str | Path) -> Picture:
        """A picture that was read passes, a path is read."""
        return source if isinstance(source, Picture) else self.read(source)

    def read(self, path: str | Path) -> Picture:
        """An image file through the config's own test pipeline and data preprocessor.

        Raises:
            UnreadableImageError: The file is broken or not there.
            ValueError: The pipeline gives no pixels.
        """
        return self.see(self.load(path))

    def see(self, loaded: dict) -> Picture:
        """What `load` gives, as the model sees it.

        Raises:
            ValueError: The pipeline gives no pixels.
        """
        batch = self.prepare(loaded)
        (pixels,) = batch["inputs"]
        if pixels.dtype != torch.uint8:
            raise ValueError(
                f"the test pipeline must hand on pixels 0..255 (uint8), got {pixels.dtype}: leave "
                "the normalisation to data_preprocessor"
            )
        pixels = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()[..., ::-1])  # BGR -> RGB
        batch = self.model.data_preprocessor(batch, False)
        path = str(loaded["img_path"])
        return Picture(path, pixels, batch["inputs"], batch["data_samples"][0])

    def annotations(self, path: str | None = None) -> Annotations | None:
        """The objects of a COCO file, which is read once.

        Args:
            path: The file; by default that of the config's test data. A classifier has none, nor
                has a config whose file is not there: None.

        Raises:
            ValueError: The file is no COCO annotation.
        """
        if path is None:
            stated = self.dataset.get("ann_file") or ""
            found = Path(self.dataset.get("data_root") or "", stated)
            if not (self.is_detector and stated and found.is_file()):
                return None
            path = str(found)
        if path not in self._annotations:
            self._annotations[path] = Annotations(path, self.classes)
        return self._annotations[path]

    def labels(self, picture: Picture) -> np.ndarray | None:
        """The label map of a picture of the config's test data, in its pixels: (H, W) uint8.

        None where the model is no segmentor or the image is not in its data.

        Raises:
            ValueError: The label map is not that of the image.
        """
        if not self.is_segmentor:
            return None
        if self._label_maps is None:
            self._label_maps = LabelMaps(self.dataset)
        return self._label_maps.of(picture)

    def foreground(
        self,
        picture: Picture,
        annotations: str | None = None,
        classes: Sequence[int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Where the ground truth has foreground, and where it is known: twice (H, W) bool.

        Args:
            picture: One of this subject.
            annotations: See `annotations`.
            classes: That are foreground; None: all objects, and of a label map all classes but a
                first one called background.

        Returns:
            None where there is no ground truth with masks.

        Raises:
            ValueError: A label map without such a class, and none are named.
        """
        labels = self.labels(picture)
        if labels is not None:
            known = labels != VOID
            wanted = default_foreground(self.classes) if classes is None else classes
            need_classes(wanted)
            return np.isin(labels, wanted) & known, known
        found = self.annotations(annotations)
        return None if found is None else found.foreground(picture, classes)


def find_images(paths: list[str]) -> list[str]:
    """Files as they are named, and the images of folders, sorted.

    Raises:
        ValueError: A folder without images.
    """
    found = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(str(path))
            continue
        inside = pictures_in(path)
        if not inside:
            raise ValueError(
                f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}): name another folder"
            )
        found += inside
    return found


def stream(subject: Subject, paths: Iterable[str], skipped: list[str]) -> Iterator[Picture]:
    """One picture at a time; the messages of files that cannot be read go to `skipped`."""
    for path in paths:
        try:
            picture = subject.read(path)
        except UnreadableImageError as error:
            skipped.append(str(error))
            continue
        yield picture
        del picture  # before the next is read
