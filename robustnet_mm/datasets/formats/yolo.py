"""YOLO: a text file for each image, a line for each object, in shares of the image's sides."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from robustnet_mm.datasets.own_data import listed_classes
from robustnet_mm.datasets.pictures import pictures_in

from .coco import CocoWriter, write_splits

SLACK = 1e-3  # beyond 0..1, for what was rounded


def yolo_to_coco(
    root: Path, out: Path, splits: Sequence[str], classes: Sequence[str] | None = None
) -> list[str]:
    """images/SPLIT and labels/SPLIT -> `out`/annotations/instances_SPLIT.json for each split.

    A line is `class x y width height`, the middle of a box, or `class x y x y x y ...`, a polygon.
    An image without a file of labels has no objects.

    Args:
        root: Folder of images, labels, and data.yaml or classes.txt.
        out: Folder to write to; its `images` becomes a link to the images.
        splits: Names of folders.
        classes: Names by number; by default those of data.yaml or classes.txt.

    Returns:
        Lines about each file.

    Raises:
        ValueError: A line that is none of both, a number of no class, shares beyond the image.
        FileNotFoundError: No such split, or no list of classes.
    """
    classes = list(classes or _classes(root))
    writers, without = {}, {}
    for split in splits:
        folder = root / "images" / split
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not there: name a folder of images of {root}")
        writer, without[split] = CocoWriter(classes), 0
        for path in map(Path, pictures_in(folder)):
            inside = path.relative_to(root / "images")
            image = writer.add_image(inside.as_posix(), path)
            labels = (root / "labels" / inside).with_suffix(".txt")
            without[split] += image is not None and not labels.is_file()
            if image is not None and labels.is_file():
                _add(writer, image, labels, classes)
        writers[split] = writer
    reports = write_splits(writers, root / "images", out)
    told = (f"\n{n} images have no file of labels" if n else "" for n in without.values())
    return [report + more for report, more in zip(reports, told, strict=True)]


def _classes(root: Path) -> list[str]:
    if (root / "classes.txt").is_file():
        return list(listed_classes(root / "classes.txt"))
    for path in (root / "data.yaml", root / "dataset.yaml"):
        if path.is_file():
            try:
                content = yaml.safe_load(path.read_text())
            except yaml.YAMLError as error:
                raise ValueError(f"{path} is no YAML ({error}): mend it") from error
            names = content.get("names") if isinstance(content, dict) else None
            if isinstance(names, dict):
                if set(names) != set(range(len(names))):
                    raise ValueError(f"names of {path} must be numbered from 0 on, got {names}")
                names = [names[number] for number in range(len(names))]
            if not isinstance(names, list):
                raise ValueError(f"{path} must have names, a list of the classes, got {names!r}")
            return [str(name) for name in names]
    raise FileNotFoundError(
        f"{root} has no data.yaml and no classes.txt: add the names of the classes"
    )


def _add(writer: CocoWriter, image: dict, labels: Path, classes: Sequence[str]) -> None:
    width, height = image["width"], image["height"]
    for number, line in enumerate(labels.read_text().splitlines(), 1):
        at = f"{labels}, line {number}"
        if not line.strip():
            continue
        try:
            kind, *shares = (float(value) for value in line.split())
        except ValueError as error:
            raise ValueError(f"{at}: must hold numbers, got {line!r}: mend it") from error
        if not kind.is_integer() or not 0 <= kind < len(classes):
            raise ValueError(f"{at}: class {kind:g} is none of 0..{len(classes) - 1}: mend it")
        if len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
            raise ValueError(
                f"{at}: after the class stand 4 numbers (a box), or 6, 8, ... (a polygon), got "
                f"{len(shares)}: mend it"
            )
        if not all(-SLACK <= share <= 1 + SLACK for share in shares):
            raise ValueError(f"{at}: shares of the image must be in 0..1, got {line!r}: mend it")
        polygon = None
        if len(shares) == 4:
            x, y, w, h = shares
            box = [(x - w / 2) * width, (y - h / 2) * height]
            box += [(x + w / 2) * width, (y + h / 2) * height]
        else:
            polygon = [share * (height if k % 2 else width) for k, share in enumerate(shares)]
            xs, ys = polygon[::2], polygon[1::2]
            box = [min(xs), min(ys), max(xs), max(ys)]
        writer.add_object(image, classes[int(kind)], box, at, polygon)
