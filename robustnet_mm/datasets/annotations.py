"""Looks into a COCO annotation file: what would stop a training later, or be left out in silence.

mmdet drops boxes outside of their image, or smaller than a pixel, without a word, stops at a key
that is missing, and turns an image by its EXIF mark whatever the annotation's width and height say.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import mmcv
from mmengine.logging import print_log
from PIL import Image

IMAGE_KEYS = ("id", "file_name", "width", "height")
BOX_KEYS = ("id", "image_id", "category_id", "bbox", "area")
SAMPLE = 200  # images whose header is read: two seconds on a slow disk
_ORIENTATION = 274  # EXIF: 1 as it is, 2..4 mirrored or upside down, 5..8 on its side
_CONVERT = "convert it to COCO's format again"


def few(names: Any, most: int = 8) -> str:
    """The first names, and how many more there are."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)


def check_keys(entries: Any, keys: Sequence[str], kind: str, at: str) -> None:
    """Each entry must have the keys that mmdet and pycocotools read, and an id of its own."""
    for index, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, Mapping) or key not in entry]
        if missing:
            raise ValueError(
                f"{at}: {kind} {index} must have {', '.join(keys)}, it lacks {', '.join(missing)}: "
                f"add them, or {_CONVERT}"
            )
    counts = Counter(entry["id"] for entry in entries)
    twice = [number for number, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"{at}: the ids of {kind} must differ, {len(twice)} stand twice ({few(twice, 3)}): "
            f"number them anew, or {_CONVERT}"
        )


def check_bbox(annotation: Mapping, at: str) -> None:
    box = annotation["bbox"]
    numbers = isinstance(box, list) and all(isinstance(value, (int, float)) for value in box)
    if not numbers or len(box) != 4 or not all(isfinite(value) for value in box):
        which = f"annotation {annotation['id']} of image {annotation['image_id']}"
        raise ValueError(
            f"{at}: bbox must be four finite numbers (x, y, width, height), {which} has {box}: "
            "mend it or take it out"
        )
    for key, kinds in (("area", (int, float)), ("category_id", int)):
        if not isinstance(annotation[key], kinds):
            raise ValueError(
                f"{at}: {key} must be a number, annotation {annotation['id']} has "
                f"{annotation[key]!r}: mend it or take it out"
            )


def why_unusable(annotation: Mapping, image: Mapping | None, labels: Mapping) -> str | None:
    """The reason for which mmdet leaves an annotation out, None if it is used."""
    if image is None:
        return "of an image that is not in the file"
    if annotation["category_id"] not in labels:
        return "of a category that is not in the file"
    x, y, width, height = annotation["bbox"]
    across = min(x + width, image["width"]) - max(x, 0)
    down = min(y + height, image["height"]) - max(y, 0)
    if width < 1 or height < 1 or annotation["area"] <= 0:
        return "less than a pixel wide or high, or of area 0"
    return "outside of its image" if across <= 0 or down <= 0 else None


def why_no_mask(annotation: Mapping, image: Mapping) -> str | None:
    """The reason for which mmdet cannot make a mask of a used annotation, None if it can."""
    shape = annotation.get("segmentation")
    if not shape:
        return "no segmentation"
    if isinstance(shape, Mapping):
        fits = list(shape.get("size", ())) == [image["height"], image["width"]]
        return None if fits else "a mask of another size than its image"
    usable = isinstance(shape, list) and any(
        isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0 for points in shape
    )
    return None if usable else "no polygon of three points or more, and no RLE"


def reaches_out(annotation: Mapping, image: Mapping) -> bool:
    x, y, width, height = annotation["bbox"]
    return min(x, y) < -1 or x + width > image["width"] + 1 or y + height > image["height"] + 1


def check_content(
    content: Mapping, at: str, phases: set[str], with_mask: bool, names: Sequence[str]
) -> None:
    """Checks the entries of a COCO annotation file and says what of it will not be used.

    Args:
        content: The file's dictionary.
        at: Config key and file, the beginning of each message.
        phases: What the data is for: 'train', 'val', 'test'.
        with_mask: Whether a pipeline loads masks.
        names: The classes asked for.

    Raises:
        ValueError: Nothing to train on or to measure, or an entry that stops mmdet.
    """
    images = {image["id"]: image for image in content["images"]}
    annotations = content.get("annotations") or []
    if not annotations:
        if phases - {"test"}:  # a test may only predict
            raise ValueError(f"{at} has no annotations: name the file with the boxes by ann_file")
        return
    # pycocotools reads `iscrowd` where a result is measured
    check_keys(annotations, BOX_KEYS + ("iscrowd",) * bool(phases - {"train"}), "annotations", at)
    labels = {category["id"]: category["name"] for category in content["categories"]}
    reasons, no_mask, out, used = Counter(), [], [], 0
    for annotation in annotations:
        check_bbox(annotation, at)
        image = images.get(annotation["image_id"])
        reason = why_unusable(annotation, image, labels)
        if reason:
            reasons[reason] += 1
        elif labels[annotation["category_id"]] in names and not annotation.get("ignore"):
            used += 1
            if with_mask and (lack := why_no_mask(annotation, image)):
                no_mask.append((annotation["id"], lack))
            if reaches_out(annotation, image):
                out.append(annotation["id"])
    dropped = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    if not used and phases - {"test"}:
        raise ValueError(
            f"{at}: none of the {len(annotations)} annotations can be used "
            f"({dropped or 'none has a class asked for'}): bbox is (x, y, width, height) in pixels"
        )
    if no_mask:
        raise ValueError(
            f"{at}: {len(no_mask)} of the {used} annotations cannot be loaded with masks, first "
            f"annotation {no_mask[0][0]}: {no_mask[0][1]}. Add polygons or RLE as 'segmentation', "
            "or train a detector of boxes (a faster-rcnn config, LoadAnnotations without with_mask)"
        )
    if dropped:
        warn(f"{at}: {len(annotations)} annotations, not used by mmdet: {dropped}")
    if out:
        warn(
            f"{at}: {len(out)} boxes reach beyond their image by more than a pixel (annotation "
            f"{few(out, 3)}): bbox is (x, y, width, height), not two corners"
        )


def evenly(entries: Sequence, most: int) -> Iterator:
    """At most so many entries, spread over all."""
    step = max(len(entries) / most, 1)
    return (entries[int(index * step)] for index in range(min(len(entries), most)))


def check_sizes(images: Sequence[Mapping], folder: Path, load: Mapping, at: str) -> None:
    """Compares width and height of a sample of images with their files' headers.

    Args:
        images: The annotation's `images`.
        folder: Where their files are.
        load: Config of the pipeline's step that loads images.
        at: Config key and file, the beginning of each message.

    Raises:
        ValueError: The annotation describes images of another size or orientation.
    """
    wrong, marked, looked = [], [], 0
    as_it_lies = load.get("color_type", "color") in (
        "unchanged",
        "color_ignore_orientation",
        "grayscale_ignore_orientation",
    )
    for image in evenly(images, SAMPLE):
        path = folder / image["file_name"]
        try:
            with Image.open(path) as header:
                size, mark = header.size, header.getexif().get(_ORIENTATION, 1)
            decoded = size if mark in (0, 1) else decoded_size(path, load)
        except Exception:  # Pillow's plugins raise anything; a broken image is the loader's to tell
            continue
        looked += 1
        stated = (image["width"], image["height"])
        if decoded != stated:
            wrong.append((image["file_name"], stated, decoded, mark))
        elif mark in (2, 3, 4) and not as_it_lies:
            marked.append(image["file_name"])
    if wrong:
        raise ValueError(_sizes_message(wrong, looked, at))
    if marked:
        warn(
            f"{at}: {len(marked)} of {looked} images are mirrored or turned by 180 degrees when "
            f"they are read, by their EXIF mark ({few(marked, 3)}): their boxes must be those of "
            "the turned image, or set color_type='color_ignore_orientation' in LoadImageFromFile"
        )


def decoded_size(path: Path, load: Mapping) -> tuple[int, int]:
    """(width, height) of what the pipeline will read: decoders differ in what they turn."""
    options = dict(flag=load.get("color_type", "color"), backend=load.get("imdecode_backend"))
    height, width = mmcv.imread(str(path), **options).shape[:2]
    return width, height


def _sizes_message(wrong: list[tuple], looked: int, at: str) -> str:
    name, stated, decoded, mark = wrong[0]
    step = "measure the images again"
    if stated == decoded[::-1]:
        step = "width and height are swapped: swap them in the annotation, or turn the image"
        if mark not in (0, 1):
            step = (
                "the file is turned by its EXIF mark when it is read and the annotation is that of "
                "the file as it lies: set color_type='color_ignore_orientation' in every "
                "LoadImageFromFile, or annotate the turned image"
            )
    return (
        f"{at}: {len(wrong)} of {looked} images looked at have another size than the annotation "
        f"says, first {name!r}: width x height {stated[0]} x {stated[1]} in the annotation, "
        f"{decoded[0]} x {decoded[1]} as it is read; {step}"
    )
