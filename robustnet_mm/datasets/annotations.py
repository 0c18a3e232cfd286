"""Looks into a COCO annotation file: what would stop a training later, or be left out in silence.

mmdet drops boxes outside of their image, or smaller than a pixel, without a word, stops at a key
that is missing, and turns an image by its EXIF mark whatever the annotation's width and height say.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import mmcv
from mmengine.logging import print_log

from robustnet_mm.arguments import is_number
from robustnet_mm.datasets.headers import Header, read_headers

IMAGE_KEYS = ("id", "file_name", "width", "height")
BOX_KEYS = ("id", "image_id", "category_id", "bbox", "area")
FEW = 3  # images on their side that are decoded to learn whether the loader turns such ones
_CONVERT = "convert it to COCO's format again"


def few(names: Any, most: int = 8) -> str:
    """The first names, and how many more there are."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def is_id(value: Any) -> bool:
    """A whole number; pandas writes 1.0, which mmdet and pycocotools take for 1."""
    return is_number(value) and float(value).is_integer()


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
        if not is_id(entry["id"]) and not isinstance(entry["id"], str):
            raise ValueError(
                f"{at}: the id of {kind} {index} must be a number, got {entry['id']!r}: {_CONVERT}"
            )
    counts = Counter(entry["id"] for entry in entries)
    twice = [number for number, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"{at}: the ids of {kind} must differ, {len(twice)} stand twice ({few(twice, 3)}): "
            f"number them anew, or {_CONVERT}"
        )


def check_categories(categories: Any, at: str) -> None:
    """Each category must have an id of its own and a name."""
    check_keys(categories, ("id", "name"), "categories", at)
    names = [category["name"] for category in categories]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{at}: categories must have words for names, got {few(names)}: mend it")


def check_images(images: Any, at: str) -> None:
    """Each image must have an id of its own, a file, and a size."""
    check_keys(images, IMAGE_KEYS, "images", at)
    for image in images:
        if not isinstance(image["file_name"], str) or not image["file_name"]:
            raise ValueError(
                f"{at}: file_name must be the path of an image, image {image['id']} has "
                f"{image['file_name']!r}: mend it or take the image out"
            )
        for key in ("width", "height"):
            if not isinstance(image[key], (int, float)) or not 1 <= image[key] < float("inf"):
                raise ValueError(
                    f"{at}: {key} must be a number of pixels from 1 on, image {image['id']} "
                    f"({image['file_name']!r}) has {image[key]!r}: measure the image, or take it "
                    "out"
                )
    counts = Counter(image["file_name"] for image in images)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        warn(
            f"{at}: {len(twice)} files are those of more than one image ({few(twice, 3)}), each "
            "with a part of their objects: give an image one entry with all of them"
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
    fits = dict(
        area=is_number, category_id=is_id, image_id=lambda v: is_id(v) or isinstance(v, str)
    )
    for key, fit in fits.items():
        if not fit(annotation[key]):
            kind = "a number" if key == "area" else "a whole number"
            raise ValueError(
                f"{at}: {key} must be {kind}, annotation {annotation['id']} has "
                f"{annotation[key]!r}: mend it or take it out"
            )


def why_unusable(
    annotation: Mapping, image: Mapping | None, labels: Mapping, training: bool
) -> str | None:
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
    if training and annotation.get("iscrowd"):
        return "crowds (iscrowd), from which no detector learns"
    return "outside of its image" if across <= 0 or down <= 0 else None


def why_no_mask(annotation: Mapping, image: Mapping) -> str | None:
    """The reason for which mmdet cannot make a mask of a used annotation, None if it can."""
    shape = annotation.get("segmentation")
    if not shape:
        return "no segmentation"
    if isinstance(shape, Mapping):
        fits = shape.get("size") == [image["height"], image["width"]]
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
        reason = why_unusable(annotation, image, labels, phases == {"train"})
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


def sizes_read(
    images: Sequence[Mapping], headers: Sequence[Header | None], folder: Path, load: Mapping
) -> list[tuple[int, int] | None]:
    """(width, height) of each image as the pipeline reads it, None for what cannot be read.

    Decoders differ in the formats that they turn by an EXIF mark, so a few images of each format
    and mark are decoded. What they have in common is taken for the others, except for those that
    would then have another size than the annotation says: these are decoded, until `FEW` do have.
    """
    turned, wrong, sizes = defaultdict(list), 0, []
    for image, header in zip(images, headers, strict=True):
        size = header and (header.width, header.height)
        if header and header.mark >= 5 and header.width != header.height:
            stated, seen = (image["width"], image["height"]), turned[header.kind, header.mark]
            known = len(seen) >= FEW and len(set(seen)) == 1
            size = size[::-1] if known and seen[0] else size
            if not known or (size != stated and wrong < FEW):
                size = decoded_size(folder / image["file_name"], load)
                seen += [size == (header.height, header.width)] if size else []
                wrong += size not in (None, stated)
        sizes.append(size)
    return sizes


def check_sizes(images: Sequence[Mapping], folder: Path, load: Mapping, at: str) -> None:
    """Compares width and height of all images with their files' headers.

    Args:
        images: The annotation's `images`.
        folder: Where their files are.
        load: Config of the pipeline's step that loads images.
        at: Config key and file, the beginning of each message.

    Raises:
        ValueError: The annotation describes images of another size or orientation.
    """
    headers = read_headers(folder, [image["file_name"] for image in images])
    wrong, marked, looked = [], [], 0
    as_it_lies = load.get("color_type", "color") in (
        "unchanged",
        "color_ignore_orientation",
        "grayscale_ignore_orientation",
    )
    sizes = sizes_read(images, headers, folder, load)
    for image, header, decoded in zip(images, headers, sizes, strict=True):
        if decoded is None:
            continue
        looked += 1
        stated = (image["width"], image["height"])
        if decoded != stated:
            wrong.append((image["file_name"], stated, decoded, header.mark))
        elif header.mark in (2, 3, 4) and not as_it_lies:
            marked.append(image["file_name"])
    if wrong:
        raise ValueError(_sizes_message(wrong, looked, at))
    if marked:
        warn(
            f"{at}: {len(marked)} of {looked} images are mirrored or turned by 180 degrees when "
            f"they are read, by their EXIF mark ({few(marked, 3)}): their boxes must be those of "
            "the turned image, or set color_type='color_ignore_orientation' in LoadImageFromFile"
        )


def decoded_size(path: Path, load: Mapping) -> tuple[int, int] | None:
    """(width, height) of what the pipeline will read; None for a broken image."""
    options = dict(flag=load.get("color_type", "color"), backend=load.get("imdecode_backend"))
    try:
        height, width = mmcv.imread(str(path), **options).shape[:2]
    except Exception:  # each decoder has its own exceptions; it is the loader's to tell
        return None
    return width, height


def _sizes_message(wrong: list[tuple], looked: int, at: str) -> str:
    name, stated, decoded, mark = wrong[0]
    step = "measure the images again"
    if stated == decoded[::-1]:
        step = "width and height are swapped: swap them in the annotation, or turn the image"
        if mark != 1:
            step = (
                "the file is turned by its EXIF mark when it is read and the annotation is that of "
                "the file as it lies: set color_type='color_ignore_orientation' in every "
                "LoadImageFromFile, or annotate the turned image"
            )
    return (
        f"{at}: {len(wrong)} of {looked} images have another size than the annotation "
        f"says, first {name!r}: width x height {stated[0]} x {stated[1]} in the annotation, "
        f"{decoded[0]} x {decoded[1]} as it is read; {step}"
    )
