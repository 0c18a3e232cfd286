"""A config and a checkpoint as a model to look into, and images as that model sees them."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor, nn

from robustnet_mm.attention.masks import VOID, default_foreground, need_classes
from robustnet_mm.datasets.checks import leaf_datasets
from robustnet_mm.datasets.loading import IMAGE_SUFFIXES, LoadImage
from robustnet_mm.engine.backbones import build_model
from robustnet_mm.engine.checks import check_normalization
from robustnet_mm.engine.launch import read_config
from robustnet_mm.hosts import host_of
from robustnet_mm.weights.files import find_state_dict, read_checkpoint
from robustnet_mm.weights.load import load_into

from .detections import Annotations
from .label_maps import READ_LABELS, LabelMaps


class UnreadableImageError(ValueError):
    """A file that is not there or no whole image."""


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


class Subject:
    """A built model with its weights, and the way its images go.

    Args:
        config: Config file.
        checkpoint: Checkpoint file, which must fit to the last key.
        cfg_options: Changes of the config.

    Attributes:
        model: In eval mode, on the GPU where there is one.
        cfg: The config.
        classes: Names of the classes; empty where they are not known.
        is_detector: Whether the model is a detector.
        is_segmentor: Whether the model is a semantic segmentor.

    Raises:
        ValueError: The checkpoint is of another config, or the images are normalised otherwise than
            the backbone is told.
        FileNotFoundError: No such config or checkpoint.
    """

    def __init__(self, config: str, checkpoint: str, cfg_options: dict | None = None):
        self.cfg = read_config(config, cfg_options)
        check_normalization(self.cfg)
        init_default_scope(self.cfg.default_scope)
        content = read_checkpoint(checkpoint)
        self.model: nn.Module = build_model(self.cfg)
        load_into(self.model, find_state_dict(content), checkpoint)
        self.model.to(get_device()).eval()
        host = host_of(self.cfg, of_images=True)
        self.is_detector, self.is_segmentor = host.detects, host.segments
        self.dataset = _test_dataset(self.cfg)
        self.classes = _class_names(self.dataset, content, self.cfg.default_scope)
        self._load, self._transform = _pipeline(self.dataset)
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
        try:
            loaded = self._load(dict(img_path=str(path), img_id=0))
        except (OSError, ValueError) as error:
            raise UnreadableImageError(str(error)) from error
        data = self._transform(loaded)
        pixels = data["inputs"]
        if pixels.dtype != torch.uint8:
            raise ValueError(
                f"the test pipeline must hand on pixels 0..255 (uint8), got {pixels.dtype}: leave "
                "the normalisation to data_preprocessor"
            )
        pixels = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()[..., ::-1])  # BGR -> RGB
        batch = dict(inputs=[data["inputs"]], data_samples=[data["data_samples"]])
        batch = self.model.data_preprocessor(batch, False)
        return Picture(str(path), pixels, batch["inputs"], batch["data_samples"][0])

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

    def name(self, label: int) -> str:
        """The name of a class, or its number."""
        known = 0 <= label < len(self.classes)
        return str(self.classes[label]).split(",")[0] if known else f"class {label}"


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
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not inside:
            raise ValueError(
                f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}): name another folder"
            )
        found += map(str, inside)
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


def _test_dataset(cfg: Config) -> dict:
    loader = cfg.get("test_dataloader") or cfg.get("val_dataloader") or {}
    found = [dataset for _, dataset in leaf_datasets(loader.get("dataset"), "")]
    if not found:
        raise ValueError(
            "the config has no test_dataloader, whose pipeline prepares the images: add one"
        )
    return found[0]


def _pipeline(dataset: dict) -> tuple[LoadImage, Compose]:
    """What reads a file, strictly, and what follows; annotations are not read."""
    names = ("to_float32", "color_type", "imdecode_backend", "backend_args")
    load, steps = {}, []
    for step in dataset["pipeline"]:
        kind = str(step["type"]).rpartition(".")[2]
        if kind in ("LoadImageFromFile", "LoadImage"):
            load = {key: step[key] for key in names if key in step}
        elif kind not in READ_LABELS:
            steps.append(step)
    return LoadImage(**load), Compose(steps)


def _class_names(dataset: dict, checkpoint: dict, scope: str) -> list[str]:
    """Those of the config's test data, then the checkpoint's own, then the dataset type's."""
    stated = (dataset.get("metainfo") or {}).get("classes") or dataset.get("classes")
    if stated is None:
        meta = (checkpoint.get("meta") or {}).get("dataset_meta") or {}
        stated = meta.get("classes") or meta.get("CLASSES")
    if stated is None:
        name = str(dataset.get("type"))
        kind = DATASETS.get(name if "." in name else f"{scope}.{name}")
        stated = (getattr(kind, "METAINFO", None) or {}).get("classes")
    if isinstance(stated, str):  # the path of a list
        stated = Path(stated).read_text().splitlines() if Path(stated).is_file() else None
    return list(stated or [])
