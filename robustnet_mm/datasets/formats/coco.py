"""A COCO file that is filled image by image; what cannot be used is counted and told."""

import json
import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from robustnet_mm.datasets.annotations import decoded_size, few
from robustnet_mm.datasets.headers import read_header
from robustnet_mm.files import WholeFileBackend


def size_of(path: Path) -> tuple[int, int] | None:
    """(width, height) of an image as it is read, turned by its EXIF mark; None for no image."""
    header = read_header(str(path))
    if header is None:
        return None
    return decoded_size(path, {}) if header.mark >= 5 else (header.width, header.height)


class CocoWriter:
    """The entries of a COCO file.

    Args:
        classes: Names of the categories, which are numbered from 1 in this order.

    Attributes:
        skipped: Why -> names of the images that were left out.
        dropped: Why -> places of the objects that were left out.

    Raises:
        ValueError: No class, or a name that stands twice.
    """

    def __init__(self, classes: Sequence[str]):
        if not classes or len(set(classes)) < len(classes):
            raise ValueError(f"classes must be different names, got {few(classes)}: mend the list")
        self.categories = [dict(id=k, name=name) for k, name in enumerate(classes, 1)]
        self._numbers = {name: k for k, name in enumerate(classes, 1)}
        self.images, self.annotations = [], []
        self.skipped, self.dropped = {}, {}

    def add_image(self, name: str, path: Path) -> dict | None:
        """An image by the name that it shall have; None where it cannot be read, which is kept."""
        size = size_of(path)
        if size is None:
            why = "not there" if not path.is_file() else "cannot be read"
            self.skip(why, name)
            return None
        image = dict(id=len(self.images) + 1, file_name=name, width=size[0], height=size[1])
        self.images.append(image)
        return image

    def skip(self, why: str, name: str) -> None:
        self.skipped.setdefault(why, []).append(name)

    def add_object(
        self,
        image: dict,
        name: str,
        box: Sequence[float],
        at: str,
        polygon: Sequence[float] | None = None,
        **fields,
    ) -> None:
        """An object; what reaches beyond the image is cut off, what is then no box is dropped.

        Args:
            image: As `add_image` gave it.
            name: Of the class.
            box: left, top, right, bottom in pixels.
            at: Where it stands, for the report.
            polygon: x, y, x, y, ... in pixels.
            **fields: Further ones, such as `iscrowd`.

        Raises:
            ValueError: A class that is not in the list, or a coordinate that is no number.
        """
        if not all(map(isfinite, box)):
            raise ValueError(f"{at}: a box must have finite numbers, got {list(box)}: mend it")
        if name not in self._numbers:
            raise ValueError(f"{at}: {name!r} is none of the classes {few(self._numbers)}: add it")
        width, height = image["width"], image["height"]
        left, right = (min(max(side, 0), width) for side in (box[0], box[2]))
        top, bottom = (min(max(side, 0), height) for side in (box[1], box[3]))
        if right - left < 1 or bottom - top < 1:
            self.dropped.setdefault("less than a pixel wide or high", []).append(at)
            return
        one = dict(
            id=len(self.annotations) + 1,
            image_id=image["id"],
            category_id=self._numbers[name],
            bbox=[round(value, 3) for value in (left, top, right - left, bottom - top)],
            area=round((right - left) * (bottom - top), 3),
            iscrowd=0,
        )
        if polygon is not None:
            one["segmentation"] = [[round(value, 3) for value in polygon]]
            one["area"] = round(_area(polygon), 3)
        self.annotations.append({**one, **fields})

    def report(self, path: Path) -> str:
        """A line about what is in the file, and one for each reason why something is not.

        Raises:
            ValueError: No image, or no object.
        """
        report = [f"{path}: {len(self.images)} images, {len(self.annotations)} objects of "
                  f"{len(self.categories)} classes"]  # fmt: skip
        for what, kinds in (("images", self.skipped), ("objects", self.dropped)):
            for why, names in kinds.items():
                report.append(f"left out: {len(names)} {what}, {why} ({few(names, 3)})")
        if not self.images or not self.annotations:
            raise ValueError("; ".join([f"nothing to write into {path}", *report[1:]]))
        return "\n".join(report)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        content = dict(images=self.images, annotations=self.annotations, categories=self.categories)
        WholeFileBackend().put_text(json.dumps(content), path)


def write_splits(writers: dict[str, CocoWriter], images: Path, out: Path) -> list[str]:
    """All splits and the link to the images, after everything is known to be right.

    Args:
        writers: Split -> its entries.
        images: Folder of the images.
        out: Gets `annotations/instances_SPLIT.json`, and `images`, a link.

    Returns:
        The report of each file.

    Raises:
        ValueError: A split without an object, or other images in `out`.
    """
    files = {split: out / f"annotations/instances_{split}.json" for split in writers}
    reports = [writer.report(files[split]) for split, writer in writers.items()]
    link_images(images, out)
    for split, writer in writers.items():
        writer.write(files[split])
    return reports


def link_images(source: Path, out: Path) -> None:
    """`out`/images becomes a link to the folder of the images, unless it is that folder.

    Raises:
        ValueError: Another folder or file stands there.
    """
    place = out / "images"
    if place.exists() and place.resolve() == source.resolve():
        return
    if place.exists() or place.is_symlink():
        raise ValueError(f"{place} is there already, and is not {source}: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    place.symlink_to(os.path.relpath(source.resolve(), out.resolve()), target_is_directory=True)


def _area(polygon: Sequence[float]) -> float:
    """Of a polygon x, y, x, y, ... (the shoelace formula)"""
    xs, ys = polygon[::2], polygon[1::2]
    after = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return abs(sum(x * v - u * y for x, y, u, v in after)) / 2
