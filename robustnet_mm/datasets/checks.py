"""Looks at the data a config names before anything is built, and says what is wrong and where.

A missing file otherwise shows up minutes later, in a worker process, and a wrong class name never:
mmdet leaves unknown classes out in silence.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustnet_mm.datasets.annotations import (
    check_categories,
    check_content,
    check_images,
    check_sizes,
    few,
)
from robustnet_mm.datasets.class_folders import EXTENSIONS, class_folders
from robustnet_mm.datasets.labels import (
    FOLDER_TYPES,
    Classes,
    class_names,
    is_coco,
    listed_labels,
    type_of,
)
from robustnet_mm.processes import is_first

PHASES = ("train", "val", "test")


def leaf_datasets(dataset: Any, where: str) -> Iterator[tuple[str, Mapping]]:
    """Yields (config key, config) of each dataset inside wrappers (`dataset`, `datasets`)."""
    if not isinstance(dataset, Mapping):
        return  # already built
    if "dataset" in dataset:
        yield from leaf_datasets(dataset["dataset"], f"{where}.dataset")
    elif "datasets" in dataset:
        for index, inner in enumerate(dataset["datasets"]):
            yield from leaf_datasets(inner, f"{where}.datasets.{index}")
    else:
        yield where, dataset


def join(root: str, path: str) -> Path:
    """Joins as the hosts do: an absolute path stands for itself."""
    return Path(os.path.expanduser(root), os.path.expanduser(path))


def need(path: Path, what: str, where: str, key: str) -> None:
    """Raises a FileNotFoundError that names the config key to set if `path` is not there."""
    if not path.exists():
        raise FileNotFoundError(
            f"{where}: the {what} {str(path)!r} is not there (looked from {os.getcwd()}): put the "
            f"data there or set --cfg-options {where}.{key}=PATH"
        )


def need_images(folder: Path, names: list[str], named_by: Path, where: str, key: str) -> None:
    """Checks that `names`, relative to `folder`, exist, listing each folder once."""
    present: dict[str, set[str]] = {}
    missing = []
    for name in names:
        parent, base = os.path.split(name)
        if parent not in present:
            inner = folder / parent
            present[parent] = set(os.listdir(inner)) if inner.is_dir() else set()
        if base not in present[parent]:
            missing.append(name)
    if missing:
        raise FileNotFoundError(
            f"{where}: {len(missing)} of the {len(names)} images named by {str(named_by)!r} are "
            f"not in {str(folder)!r}, first {', '.join(missing[:3])}: complete the folder or set "
            f"--cfg-options {where}.{key}=FOLDER"
        )


def load_coco(path: Path, where: str) -> dict[str, Any]:
    """Reads a COCO annotation file, of which `images` and `categories` must be there."""
    if path.is_dir():
        raise FileNotFoundError(
            f"{where}.ann_file must name an annotation file, {str(path)!r} is a folder: set "
            f"--cfg-options {where}.ann_file=FILE.json"
        )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(
            f"{where}: the annotation file {str(path)!r} is not readable as JSON ({error}): it may "
            "be empty, cut or compressed; fetch or convert it again"
        ) from error
    keys = sorted(content) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not {"images", "categories"} <= content.keys():
        raise ValueError(
            f"{where}: the annotation file {str(path)!r} must be a COCO dictionary with 'images', "
            f"'annotations' and 'categories', got {keys}: convert it to COCO's format"
        )
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key) or [], list):
            raise ValueError(
                f"{where}: '{key}' of the annotation file {str(path)!r} must be a list, got a "
                f"{type(content[key]).__name__}: convert it to COCO's format"
            )
    return content


def check_coco(dataset: Mapping, where: str, phases: set[str], scope: str | None) -> Classes:
    """Checks folder, annotation file, images and class names of a CocoDataset."""
    root, prefix = dataset.get("data_root") or "", dataset.get("data_prefix") or {}
    if not isinstance(prefix, Mapping) or "img" not in prefix:
        raise ValueError(
            f"{where}.data_prefix must be a dictionary with 'img', got {prefix!r}: write "
            "data_prefix=dict(img='FOLDER/')"
        )
    annotation, folder = join(root, dataset.get("ann_file") or ""), join(root, prefix["img"])
    if root:
        need(join(root, ""), "data folder", where, "data_root")
    need(annotation, "annotation file", where, "ann_file")
    need(folder, "image folder", where, "data_prefix.img")
    content, at = load_coco(annotation, where), f"{where}: the annotation file {str(annotation)!r}"
    if not content["images"] or not content["categories"]:
        raise ValueError(f"{at} has no images or no categories: name another file by ann_file")
    check_categories(content["categories"], at)
    check_images(content["images"], at)
    names = class_names(dataset, where, scope, content)
    check_names(names, [category["name"] for category in content["categories"]], annotation, where)
    files = [image["file_name"] for image in content["images"]]
    need_images(folder, files, annotation, where, "data_prefix.img")
    steps = [step for step in dataset.get("pipeline") or [] if isinstance(step, Mapping)]
    with_mask = any(step.get("with_mask") for step in steps)
    check_content(content, at, phases, with_mask, names)
    load = next((step for step in steps if "LoadImage" in str(step.get("type"))), {})
    check_sizes(content["images"], folder, load, at)
    return Classes(names)


def check_names(names: Sequence[str], found: list[str], annotation: Path, where: str) -> None:
    """Checks the names asked for against those of the annotation's categories.

    mmdet numbers the labels in the file's order, whatever the order of `metainfo.classes`: in
    another order, each label would have another's name.
    """
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ValueError(
            f"{where}.metainfo.classes must be among the categories of {str(annotation)!r} "
            f"({few(found)}), got {few(unknown)}: write metainfo=dict(classes=(...)) with the "
            "annotation's names, in every dataset of the config"
        )
    numbered = [name for name in found if name in names]
    if len(numbered) != len(set(numbered)):
        raise ValueError(
            f"the categories of {str(annotation)!r} must have different names, got {few(found)}: "
            "take out those without objects, which some tools write beside the classes"
        )
    if numbered != list(names):
        raise ValueError(
            f"{where}.metainfo.classes must stand in the order of the categories of "
            f"{str(annotation)!r}, in which mmdet numbers the labels, {few(numbered)}; got "
            f"{few(names)}: write them in that order, in every dataset of the config"
        )


def check_folder(
    dataset: Mapping, where: str, phases: set[str], kind: str, scope: str | None
) -> Classes:
    """Checks folder, annotation list, images and number of classes of a CustomDataset."""
    root, prefix = dataset.get("data_root") or "", dataset.get("data_prefix") or ""
    ann_file, split = dataset.get("ann_file") or "", dataset.get("split") or ""
    if isinstance(prefix, Mapping):
        prefix = prefix.get("img_path", "")
    if split and kind != "CustomDataset":  # ImageNet(split='train') means train/, meta/train.txt
        prefix = prefix or split
        default = os.path.join("meta", f"{split}.txt")
        ann_file = ann_file or (default if join(root, default).exists() else "")
    labelled = dataset.get("with_label", True) and split != "test"
    folder = join(root, prefix)
    if root:
        need(join(root, ""), "data folder", where, "data_root")
    need(folder, "image folder", where, "data_prefix")
    if ann_file:
        need(join(root, ann_file), "annotation file", where, "ann_file")
        lines = _lines_of(join(root, ann_file), where)
        names = [line.strip().rsplit(" ", 1)[0] if labelled else line for line in lines]
        need_images(folder, names, join(root, ann_file), where, "data_prefix")
        labels = listed_labels(lines, join(root, ann_file), where) if labelled else []
        return Classes(class_names(dataset, where, scope), max(labels, default=-1) + 1)
    if labelled:
        return Classes(_check_subfolders(dataset, folder, where, "train" in phases))
    return Classes(None)


def _lines_of(path: Path, where: str) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: {str(path)!r} must be a text in UTF-8, {error}: save it as such"
        ) from error
    empty = [number for number, line in enumerate(lines, start=1) if not line.strip()]
    if empty:
        raise ValueError(
            f"{where}: line {empty[0]} of {str(path)!r} is empty, and would be an image without a "
            "name: take it out"
        )
    return lines


def _check_subfolders(dataset: Mapping, folder: Path, where: str, training: bool) -> list[str]:
    found = class_folders(folder, where, training, dataset.get("extensions") or EXTENSIONS)
    classes = dataset.get("classes") or (dataset.get("metainfo") or {}).get("classes")
    if classes is not None and not isinstance(classes, str) and len(classes) != len(found):
        raise ValueError(
            f"{where}.metainfo.classes must be as many as the folders in {str(folder)!r} "
            f"({len(found)}: {few(found)}), got {len(classes)}: {few(classes)}; name the classes "
            "that are there"
        )
    if classes is not None and not isinstance(classes, str):
        if set(classes) == set(found) and list(classes) != found:
            raise ValueError(
                f"{where}.metainfo.classes must stand in the order of the folders' names, in which "
                f"mmpretrain numbers the labels, {few(found)}; got {few(classes)}"
            )
    return found


def check_loading(dataset: Mapping, where: str, phase: str) -> None:
    """Refuses LoadImage(on_error='skip') where a result is measured."""
    for index, step in enumerate(dataset.get("pipeline") or []):
        if phase != "train" and isinstance(step, Mapping) and step.get("on_error") == "skip":
            raise ValueError(
                f"{where}.pipeline.{index}.on_error must be 'raise' in val and test, got 'skip': "
                "mmengine would stop or put another image in the broken one's place; mend the "
                "files or take them out of the annotation"
            )


def check_data(cfg: Mapping, phases: tuple[str, ...] = PHASES) -> dict[str, Classes]:
    """Checks the data of a config's dataloaders.

    Looked at: mmdet's CocoDataset and mmpretrain's CustomDataset and ImageNet, alone or in
    wrappers, on a local disk, and what is derived from CocoDataset elsewhere. Other types and
    storage are left to their host. In a distributed run the first process looks for all.

    Args:
        cfg: the whole config; dataloaders that it lacks are passed over.
        phases: the dataloaders to look at, e.g. ('test',) in a run that only tests.

    Returns:
        Key of a dataset in the config -> what is known of its classes.

    Raises:
        FileNotFoundError: a folder, an annotation file or images that it names are not there.
        ValueError: an annotation cannot be read or does not have the config's classes.
    """
    if not is_first(cfg.get("launcher")):
        return {}
    scope, found = cfg.get("default_scope"), {}
    for where, dataset, used_for in _different_datasets(cfg, phases):
        kind = type_of(dataset, scope)
        name = kind if isinstance(kind, str) else kind.__name__
        if is_coco(kind):
            found[where] = check_coco(dataset, where, used_for, scope)
        elif name.rpartition(".")[2] in FOLDER_TYPES:
            found[where] = check_folder(dataset, where, used_for, name.rpartition(".")[2], scope)
    return found


def _different_datasets(cfg: Mapping, phases: tuple[str, ...]) -> list[tuple]:
    """(key, config, phases) of each dataset on a local disk: one that stands twice, once."""
    different = []
    for phase in phases:
        loader = cfg.get(f"{phase}_dataloader") or {}
        for where, dataset in leaf_datasets(loader.get("dataset"), f"{phase}_dataloader.dataset"):
            check_loading(dataset, where, phase)
            data = {key: value for key, value in dataset.items() if key != "pipeline"}
            remote = dataset.get("backend_args") or "://" in str(dataset.get("data_root"))
            same = [entry for entry in different if entry[0] == data]
            if same:
                same[0][3].add(phase)
            elif not remote:
                different.append((data, where, dataset, {phase}))
    return [entry[1:] for entry in different]
