"""The classes of a dataset as its config and its files say them, before it is built."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.registry import DATASETS

COCO_TYPES = ("CocoDataset", "CityscapesDataset", "DeepFashionDataset", "iSAIDDataset")
FOLDER_TYPES = ("CustomDataset", "ImageNet", "ImageNet21k")


class Classes(NamedTuple):
    """What is known of the classes of a dataset."""

    names: list[str] | None  # in the order of the labels; None where nobody says
    at_least: int = 0  # number of classes that the labels need


def type_of(dataset: Mapping, scope: str | None) -> type | str:
    """The class that a dataset's config names, its name where no registry has it.

    Args:
        dataset: Config of the dataset.
        scope: `default_scope` of the config.
    """
    kind = dataset.get("type", "")
    if not isinstance(kind, str):
        return kind
    scope = dataset.get("_scope_") or scope
    names = [f"{scope}.{kind}"] if scope and "." not in kind else []
    if "." not in kind and kind in COCO_TYPES:
        names.append(f"mmdet.{kind}")
    found = (DATASETS.get(name) for name in [*names, kind] if name)
    return next((one for one in found if one is not None), kind)


def is_coco(kind: type | str) -> bool:
    """Whether a dataset reads COCO's files as mmdet's CocoDataset does.

    mmdet's own subclasses may read other keys; those of users and of this package read these.
    """
    if isinstance(kind, str):
        return kind.rpartition(".")[2] in COCO_TYPES
    derived = any(base.__name__ == "CocoDataset" for base in kind.__mro__)
    return kind.__name__ in COCO_TYPES or (derived and not kind.__module__.startswith("mmdet."))


def class_names(
    dataset: Mapping, where: str, scope: str | None, content: Mapping | None = None
) -> list[str] | None:
    """Names of the classes in the order of the labels; None where neither config nor type has any.

    Asked in turn: the config's own `classes` or `metainfo.classes`, those that the dataset's type
    has built in, and the categories of its annotation file.

    Args:
        dataset: Config of the dataset.
        where: Its key in the config, for messages.
        scope: `default_scope` of the config.
        content: The dictionary of its COCO file, where it has one.

    Raises:
        ValueError: A string that is not the path of a list.
    """
    given = dataset.get("classes") or (dataset.get("metainfo") or {}).get("classes")
    if isinstance(given, str):  # mmengine takes a string for the path of a list
        if not os.path.isfile(given):
            raise ValueError(
                f"{where}.metainfo.classes must be a tuple of names or the path of a list, got "
                f"the string {given!r}: one class is written ({given!r},), with the comma"
            )
        return Path(given).read_text().splitlines()
    if given is None:
        given = getattr(type_of(dataset, scope), "METAINFO", {}).get("classes")
    if given is None and content is not None:
        given = [category["name"] for category in content["categories"]]
    return None if given is None else list(given)


def listed_labels(lines: list[str], path: Path, where: str) -> list[int]:
    """The labels of a list of images, 'NAME LABEL' in each line."""
    labels: list[Any] = [line.strip().rpartition(" ")[2] for line in lines]
    wrong = [label for label in labels if not label.isdecimal()]
    if wrong or not labels:
        raise ValueError(
            f"{where}: each line of {str(path)!r} must be an image and the number of its class, "
            f"'cats/1.jpg 0', got {wrong[0] if wrong else 'no lines'!r}: write numbers from 0 on"
        )
    return [int(label) for label in labels]
