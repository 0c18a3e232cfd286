"""Looks at the data a config names before anything is built, and says what is wrong and where.

A missing file otherwise shows up minutes later, in a worker process, and a wrong class name never:
mmdet leaves unknown classes out in silence.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

COCO_TYPES = ("CocoDataset", "CityscapesDataset", "DeepFashionDataset", "iSAIDDataset")
FOLDER_TYPES = ("CustomDataset", "ImageNet", "ImageNet21k")
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
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(
            f"{where}: the annotation file {str(path)!r} is not readable as JSON ({error}): it may "
            "be cut or compressed; fetch or convert it again"
        ) from error
    keys = sorted(content) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not {"images", "categories"} <= content.keys():
        raise ValueError(
            f"{where}: the annotation file {str(path)!r} must be a COCO dictionary with 'images', "
            f"'annotations' and 'categories', got {keys}: convert it to COCO's format"
        )
    return content


def expected_classes(dataset: Mapping, where: str, kind: str) -> list[str]:
    """The class names a config asks for: its own, or those its mmdet dataset type has built in."""
    classes = (dataset.get("metainfo") or {}).get("classes")
    if classes is None:
        return DATASETS.get(f"mmdet.{kind}").METAINFO.get("classes", [])
    if isinstance(classes, str):  # mmengine takes a string for the path of a list
        if not os.path.isfile(classes):
            raise ValueError(
                f"{where}.metainfo.classes must be a tuple of names or the path of a list, got "
                f"the string {classes!r}: one class is written ({classes!r},), with the comma"
            )
        return Path(classes).read_text().splitlines()
    return classes


def check_coco(dataset: Mapping, where: str, kind: str) -> None:
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
    content = load_coco(annotation, where)
    found = [category["name"] for category in content["categories"]]
    unknown = [name for name in expected_classes(dataset, where, kind) if name not in found]
    if unknown:
        raise ValueError(
            f"{where}.metainfo.classes must be among the categories of {str(annotation)!r} "
            f"({_few(found)}), got {_few(unknown)}: write metainfo=dict(classes=(...)) with the "
            "annotation's names, in every dataset of the config"
        )
    names = [image["file_name"] for image in content["images"]]
    need_images(folder, names, annotation, where, "data_prefix.img")


def check_folder(dataset: Mapping, where: str, kind: str) -> None:
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
        lines = join(root, ann_file).read_text().splitlines()
        names = [line.strip().rsplit(" ", 1)[0] if labelled else line for line in lines]
        need_images(folder, names, join(root, ann_file), where, "data_prefix")
    elif labelled:
        _check_subfolders(dataset, folder, where)


def _check_subfolders(dataset: Mapping, folder: Path, where: str) -> None:
    found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    classes = dataset.get("classes") or (dataset.get("metainfo") or {}).get("classes")
    if not found:
        raise ValueError(
            f"{where}: {str(folder)!r} must hold one folder of images for each class, got none: "
            "sort the images into folders, or name an ann_file"
        )
    if classes is not None and not isinstance(classes, str) and len(classes) != len(found):
        raise ValueError(
            f"{where}.metainfo.classes must be as many as the folders in {str(folder)!r} "
            f"({len(found)}: {_few(found)}), got {len(classes)}: {_few(classes)}; name the classes "
            "that are there"
        )


def check_loading(dataset: Mapping, where: str, phase: str) -> None:
    """Refuses LoadImage(on_error='skip') where a result is measured."""
    for index, step in enumerate(dataset.get("pipeline") or []):
        if phase != "train" and isinstance(step, Mapping) and step.get("on_error") == "skip":
            raise ValueError(
                f"{where}.pipeline.{index}.on_error must be 'raise' in val and test, got 'skip': "
                "mmengine would stop or put another image in the broken one's place; mend the "
                "files or take them out of the annotation"
            )


def _few(names: Any) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def check_data(cfg: Mapping, phases: tuple[str, ...] = PHASES) -> None:
    """Checks the data of a config's dataloaders.

    Looked at: mmdet's CocoDataset and mmpretrain's CustomDataset and ImageNet, alone or in
    wrappers, on a local disk. Other types and storage are left to their host. In a distributed run
    the first process looks for all.

    Args:
        cfg: the whole config; dataloaders that it lacks are passed over.
        phases: the dataloaders to look at, e.g. ('test',) in a run that only tests.

    Raises:
        FileNotFoundError: a folder, an annotation file or images that it names are not there.
        ValueError: an annotation cannot be read or does not have the config's classes.
    """
    if int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) != 0:
        return
    seen = []
    for phase in phases:
        loader = cfg.get(f"{phase}_dataloader") or {}
        for where, dataset in leaf_datasets(loader.get("dataset"), f"{phase}_dataloader.dataset"):
            check_loading(dataset, where, phase)
            kind = dataset.get("type", "")
            kind = (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]
            data = {key: value for key, value in dataset.items() if key != "pipeline"}
            remote = dataset.get("backend_args") or "://" in str(dataset.get("data_root"))
            if remote or data in seen:
                continue
            seen.append(data)
            if kind in COCO_TYPES:
                check_coco(dataset, where, kind)
            elif kind in FOLDER_TYPES:
                check_folder(dataset, where, kind)
