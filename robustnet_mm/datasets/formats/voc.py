"""Pascal VOC: an XML file for each image, whose pixels are counted from 1."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from .coco import CocoWriter, write_splits


def voc_to_coco(
    root: Path, out: Path, splits: Sequence[str], classes: Sequence[str] | None = None
) -> list[str]:
    """Annotations/*.xml and JPEGImages/ -> `out`/annotations/instances_SPLIT.json for each split.

    A box from (xmin, ymin) to (xmax, ymax), both counted from 1 and inside, becomes the one from
    xmin - 1 to xmax. Objects that are `difficult` are crowds, which are neither learned nor counted
    as missed.

    Args:
        root: Folder of Annotations, JPEGImages and ImageSets/Main.
        out: Folder to write to; its `images` becomes a link to JPEGImages.
        splits: Names of lists in ImageSets/Main.
        classes: Names in the order of the categories; by default all that occur in these splits,
            sorted.

    Returns:
        Lines about each file.

    Raises:
        ValueError: XML that is broken or lacks something, or a class that is not in `classes`.
        FileNotFoundError: No such split.
    """
    read = {split: list(_read(root, split)) for split in splits}
    if classes is None:
        of_all = (objects for rows in read.values() for _, _, objects in rows)
        classes = sorted({name for objects in of_all for name, *_ in objects})
    writers = {}
    for split, rows in read.items():
        writer = writers[split] = CocoWriter(classes)
        for name, size, objects in rows:
            image = writer.add_image(name, root / "JPEGImages" / name)
            if image is None:
                continue
            if size and size != (image["width"], image["height"]):
                writer.images.pop()
                writer.skip("of another size than its XML says", name)
                continue
            for at, (label, box, difficult) in enumerate(objects, 1):
                left, top, right, bottom = box
                edges = (left - 1, top - 1, right, bottom)
                writer.add_object(
                    image, label, edges, f"{name}, object {at}", iscrowd=int(difficult)
                )
    return write_splits(writers, root / "JPEGImages", out)


def _read(root: Path, split: str) -> Iterator[tuple[str, tuple | None, list]]:
    """(file name, (width, height) or None, [(class, box, difficult)]) of each image."""
    listed = root / f"ImageSets/Main/{split}.txt"
    if not listed.is_file():
        names = ", ".join(sorted(path.stem for path in listed.parent.glob("*.txt"))) or "none"
        raise FileNotFoundError(f"{listed} is not there: the splits of {root} are {names}")
    for line in listed.read_text().splitlines():
        if not line.strip():
            continue
        number = line.split()[0]
        path = root / "Annotations" / f"{number}.xml"
        try:
            tree = ElementTree.parse(path).getroot()
            name = (tree.findtext("filename") or "").strip() or f"{number}.jpg"
            size = tuple(
                int(float(tree.findtext(f"size/{key}", "0"))) for key in ("width", "height")
            )
            objects = [_object(one) for one in tree.iter("object")]
        except (ElementTree.ParseError, OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}): mend it, or take it out") from error
        yield Path(name).name, size if all(size) else None, objects


def _object(element: ElementTree.Element) -> tuple[str, list[float], bool]:
    found = {key: element.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")}
    name = (element.findtext("name") or "").strip()
    if lacking := [key for key, value in dict(found, name=name).items() if not value]:
        raise ValueError(f"an object lacks {', '.join(lacking)}")
    return name, [float(value) for value in found.values()], element.findtext("difficult") == "1"
