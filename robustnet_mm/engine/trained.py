"""A config and a checkpoint as a model that is asked about images."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from robustnet_mm.datasets.checks import leaf_datasets
from robustnet_mm.datasets.loading import LoadImage
from robustnet_mm.engine.backbones import build_model
from robustnet_mm.engine.checks import check_normalization
from robustnet_mm.engine.launch import read_config
from robustnet_mm.hosts import host_of
from robustnet_mm.weights.files import find_state_dict, read_checkpoint
from robustnet_mm.weights.load import load_into

READ_LABELS = ("LoadAnnotations", "LoadLabels", "LoadPanopticAnnotations")  # steps of a pipeline


class UnreadableImageError(ValueError):
    """A file that is not there or no whole image."""


class TrainedModel:
    """A built model with its weights, and the way its images go.

    Args:
        config: Config file.
        checkpoint: Checkpoint file, which must fit to the last key.
        cfg_options: Changes of the config.

    Attributes:
        model: In eval mode, on the GPU where there is one.
        cfg: The config.
        host: Its row of `robustnet_mm.hosts`.
        dataset: Config of its test data.
        classes: Names of the classes; empty where they are not known.

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
        self.host = host_of(self.cfg, of_images=True)
        self.dataset = _test_dataset(self.cfg)
        self.classes = _class_names(self.dataset, content, self.cfg.default_scope)
        self._load, self._transform = _pipeline(self.dataset)

    def load(self, path: str | Path) -> dict[str, Any]:
        """A file as a pipeline's first step gives it: `img`, (H, W, 3) uint8 BGR, and its sizes.

        Raises:
            UnreadableImageError: The file is broken or not there.
        """
        try:
            return self._load(dict(img_path=str(path), img_id=0))
        except (OSError, ValueError) as error:
            raise UnreadableImageError(str(error)) from error

    def prepare(self, loaded: dict[str, Any]) -> dict[str, list]:
        """What `load` gives -> a batch of one, after the rest of the config's test pipeline."""
        data = self._transform(dict(loaded))
        return dict(inputs=[data["inputs"]], data_samples=[data["data_samples"]])

    @torch.no_grad()
    def answer(self, loaded: dict[str, Any]) -> Any:
        """What `load` gives -> the host's data sample with predictions, in the image's pixels."""
        return self.model.test_step(self.prepare(loaded))[0]

    def name(self, label: int) -> str:
        """The name of a class, or its number."""
        known = 0 <= label < len(self.classes)
        return str(self.classes[label]).split(",")[0] if known else f"class {label}"


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
