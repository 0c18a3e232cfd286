"""Open Images: tables of boxes, names of classes, and a hierarchy of them."""

import csv
import io
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

from robustnet_mm.datasets.annotations import few
from robustnet_mm.files import WholeFileBackend

from .coco import CocoWriter, size_of

_COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf")


def check_hierarchy(tree: Mapping, classes: Mapping[str, str], file: str = "the hierarchy") -> str:
    """A hierarchy must name each class, and nothing else but its root.

    Args:
        tree: `LabelName`, and `Subcategory`, a list of such trees.
        classes: Identifier -> name.
        file: For the errors.

    Returns:
        A line about it: classes, levels, pairs of a class and one above it.

    Raises:
        ValueError: A class that it does not name, a name of no class, a class below itself.
    """
    above = {}  # class -> all classes over it
    levels = 0

    def visit(node: Mapping, path: tuple[str, ...]) -> None:
        nonlocal levels
        for child in node.get("Subcategory") or ():
            name = child.get("LabelName")
            if name not in classes:
                raise ValueError(
                    f"{file} names {name!r}, which is no class: take the descriptions and the "
                    "hierarchy of one release"
                )
            if name in path:
                raise ValueError(f"{file} has {classes[name]!r} below itself: get the file again")
            above.setdefault(name, set()).update(path)
            levels = max(levels, len(path) + 1)
            visit(child, (*path, name))

    visit(tree, ())
    if missing := [f"{name} ({key})" for key, name in classes.items() if key not in above]:
        raise ValueError(
            f"{file} does not name {len(missing)} of {len(classes)} classes, first "
            f"{few(missing, 3)}: take the descriptions and the hierarchy of one release"
        )
    pairs = sum(map(len, above.values()))
    return f"{file}: {len(above)} classes, {levels} levels, {pairs} pairs of a class and one above"


class OpenImages:
    """The files of one release, laid out as mmdet's OpenImagesDataset expects.

    Args:
        boxes: CSV of boxes, with a header.
        images: Folder of ID.jpg.
        descriptions: CSV of identifier, name.
        hierarchy: JSON; checked against the descriptions.

    Attributes:
        classes: Identifier -> name.
        said: A line about the hierarchy.

    Raises:
        ValueError: A table without its columns, or a hierarchy that does not fit.
        FileNotFoundError: A file that is not there.
    """

    def __init__(self, boxes: Path, images: Path, descriptions: Path, hierarchy: Path):
        for path in (boxes, images, descriptions, hierarchy):
            if not path.exists():
                raise FileNotFoundError(f"{path} is not there: get it from Open Images' own page")
        with descriptions.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
        if any(len(row) < 2 for row in rows):
            raise ValueError(f"{descriptions} must have rows of identifier, name: get it again")
        self.classes = {row[0]: row[1] for row in rows if row[0] != "LabelName"}
        try:
            tree = json.loads(hierarchy.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{hierarchy} is no JSON ({error}): get it again") from error
        if not isinstance(tree, dict):
            raise ValueError(f"{hierarchy} must be a tree with LabelName and Subcategory")
        self.said = check_hierarchy(tree, self.classes, str(hierarchy))
        self.boxes, self.images = boxes, images

    def _rows(self) -> Iterator[tuple[str, list[dict]]]:
        """(identifier, rows) of each image, whose rows must stand together.

        Raises:
            ValueError: They do not, or a column is missing.
        """
        seen, last, rows = set(), None, []
        with self.boxes.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if lacking := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                raise ValueError(f"{self.boxes} must have a column {lacking[0]}: get it again")
            for row in reader:
                if row["ImageID"] != last:
                    if last is not None:
                        yield last, rows
                    if row["ImageID"] in seen:
                        raise ValueError(
                            f"{self.boxes}: the rows of image {row['ImageID']} do not stand "
                            "together: sort the table by ImageID"
                        )
                    seen.add(row["ImageID"])
                    last, rows = row["ImageID"], []
                rows.append(row)
        if last is not None:
            yield last, rows

    def write_coco(self, file: Path) -> str:
        """All boxes in COCO's form; those of a group are crowds.

        Returns:
            Lines about the file. Images that are not in the folder are left out and counted.

        Raises:
            ValueError: Nothing to write, a label of no class, a coordinate that is no number.
        """
        if len(set(self.classes.values())) < len(self.classes):
            raise ValueError("two classes of the descriptions have one name: COCO knows names only")
        writer = CocoWriter(list(self.classes.values()))
        for number, rows in self._rows():
            image = writer.add_image(f"{number}.jpg", self.images / f"{number}.jpg")
            for row in rows if image else ():
                at = f"{self.boxes}, image {number}"
                if row["LabelName"] not in self.classes:
                    raise ValueError(f"{at}: {row['LabelName']!r} is none of the described classes")
                try:
                    left, right = (float(row[k]) * image["width"] for k in ("XMin", "XMax"))
                    top, bottom = (float(row[k]) * image["height"] for k in ("YMin", "YMax"))
                except (TypeError, ValueError) as error:  # a cut line has fewer columns
                    raise ValueError(f"{at}: {error}: get the table again") from error
                writer.add_object(
                    image,
                    self.classes[row["LabelName"]],
                    (left, top, right, bottom),
                    at,
                    iscrowd=int(row["IsGroupOf"] == "1"),
                )
        report = writer.report(file)
        writer.write(file)
        return report

    def write_metas(self, file: Path) -> str:
        """The sizes of all images in the order of the table: `meta_file` of mmdet's dataset.

        Raises:
            ValueError: An image that is not in the folder, without which mmdet does not start.
        """
        found, missing = [], []
        for number, _ in self._rows():
            size = size_of(self.images / f"{number}.jpg")
            if size is None:
                missing.append(f"{number}.jpg")
            else:
                shape = (size[1], size[0], 3)
                found.append(dict(filename=f"{number}.jpg", ori_shape=shape))
        if missing or not found:
            raise ValueError(
                f"{len(missing)} images of {self.boxes} are not in {self.images} or cannot be read "
                f"({few(missing, 3)}): fetch them, or convert to COCO's form, which leaves them out"
            )
        buffer = io.BytesIO()
        pickle.dump(found, buffer)
        WholeFileBackend().put(buffer.getvalue(), file)
        return f"{file}: the sizes of {len(found)} images"
