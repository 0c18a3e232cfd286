"""DigitScenes: a small detection, segmentation and classification set made from what pip installed.

Real handwritten digits (scikit-learn's 1797) are warped, coloured and pasted over crops of dimmed
photographs that lie inside the scikit-image and scikit-learn wheels. Nothing is downloaded, the
same seed gives the same files, and no digit or photograph of `train` is ever seen in `val`.

    ROOT/annotations/instances_{train,val}.json   COCO format, visible masks as RLE
    ROOT/scenes/{train,val}/000000.jpg            192 x 192, 2 to 5 digits of 24 to 96 pixels
    ROOT/labels/{train,val}/000000.png            label map of a scene: 0 background, 1 + digit
    ROOT/classes.txt                              names of its classes
    ROOT/crops/{train,val}/{0..9}/000000.jpg      64 x 64, one digit each
    ROOT/finished.json                            written last: what the folder was made with
"""

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from robustnet_mm.datasets.digit_pictures import (
    SCENE_SIZE,
    load_glyphs,
    load_photos,
    make_crop,
    make_scene,
)

CLASSES = tuple("0123456789")
SPLITS = ("train", "val")
VERSION = 2  # raise it when the pictures change: folders of another version are refused


def _write_image(path: Path, image: np.ndarray) -> None:
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(path, quality=95)


def _annotation(mask: np.ndarray, label: int, image_id: int, annotation_id: int) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    box, area = coco_mask.toBbox(rle).tolist(), int(coco_mask.area(rle))  # x, y, w, h; pixels
    rle["counts"] = rle["counts"].decode("ascii")
    ids = {"id": annotation_id, "image_id": image_id, "category_id": label + 1}
    return ids | {"bbox": box, "area": area, "iscrowd": 0, "segmentation": rle}


def _write_scenes(root: Path, split: str, count: int, seed: int, step: Callable[[], None]) -> None:
    photos, (glyphs, labels) = load_photos(split), load_glyphs(split)
    for folder in ("scenes", "labels"):
        (root / folder / split).mkdir(parents=True)
    images, annotations = [], []
    for index in range(count):
        # each picture has its own stream: asking for more leaves the first ones as they are
        rng = np.random.default_rng([seed, SPLITS.index(split), 0, index])
        scene, digits = make_scene(photos, glyphs, labels, rng)
        name, size = f"{index:06d}.jpg", {"height": SCENE_SIZE, "width": SCENE_SIZE}
        _write_image(root / "scenes" / split / name, scene)
        numbers = np.zeros((SCENE_SIZE, SCENE_SIZE), np.uint8)
        for label, mask in digits:
            numbers[mask.astype(bool)] = 1 + label
        Image.fromarray(numbers).save(root / "labels" / split / f"{index:06d}.png")
        images.append({"id": index + 1, "file_name": name, **size})
        for label, mask in digits:  # ids start at 1: COCO's evaluation takes 0 for "no match"
            annotations.append(_annotation(mask, label, index + 1, len(annotations) + 1))
        step()
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _write_crops(root: Path, split: str, count: int, seed: int, step: Callable[[], None]) -> None:
    photos, (glyphs, labels) = load_photos(split), load_glyphs(split)
    for index in range(count):
        rng = np.random.default_rng([seed, SPLITS.index(split), 1, index])
        label = index % len(CLASSES)
        crop = make_crop(photos, rng.choice(glyphs[labels == label]), rng)
        folder = root / "crops" / split / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        _write_image(folder / f"{index:06d}.jpg", crop)
        step()


def _is_finished(root: Path, recipe: dict[str, Any]) -> bool:
    """True if `root` holds this recipe's data; an error if it holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / "finished.json"
    if not marker.is_file():
        raise FileExistsError(
            f"{root} has files in it and no finished.json, so it is not DigitScenes: "
            "move it away or choose another folder"
        )
    found = json.loads(marker.read_text())
    if found != recipe:
        raise FileExistsError(
            f"{root} holds DigitScenes made with {found}, and {recipe} was asked for: "
            "remove it or choose another folder"
        )
    return True


def _remove_leftovers(root: Path) -> None:
    """Removes the unfinished folders of killed runs."""
    for leftover in root.parent.glob(f".{root.name}.partial-*"):
        pid = int(leftover.name.rpartition("-")[2])
        try:
            os.kill(pid, 0)
            alive = pid != os.getpid()  # a container's processes get the same numbers each time
        except ProcessLookupError:
            alive = False
        except PermissionError:  # another user's
            alive = True
        if not alive:
            shutil.rmtree(leftover, ignore_errors=True)


def make_digit_scenes(
    root: str | Path,
    seed: int = 0,
    scenes: tuple[int, int] = (400, 80),
    crops: tuple[int, int] = (6000, 720),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Makes DigitScenes in `root`, or returns at once if it is there already.

    The folder appears whole, at the end, by a rename: a run that is killed leaves no `root`.
    A `root` that holds anything else, or DigitScenes of another recipe, is a FileExistsError.

    Args:
        root: folder to make; its parents are made too.
        seed: the same seed gives the same files.
        scenes, crops: how many in train and in val.
        progress: called as `progress(done, total)` after each picture.
    """
    root = Path(root)
    recipe = {"version": VERSION, "seed": seed, "scenes": list(scenes), "crops": list(crops)}
    partial = root.parent / f".{root.name}.partial-{os.getpid()}"
    total, count = sum(scenes) + sum(crops), itertools.count(1)
    if min(*scenes, *crops) < 1:
        raise ValueError(f"scenes and crops must be at least 1, got {scenes} and {crops}")
    if _is_finished(root, recipe):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(root)

    def step() -> None:
        progress(next(count), total)

    try:
        partial.mkdir()
        for split, num_scenes, num_crops in zip(SPLITS, scenes, crops, strict=True):
            _write_scenes(partial, split, num_scenes, seed, step)
            _write_crops(partial, split, num_crops, seed, step)
        (partial / "classes.txt").write_text("\n".join(("background", *CLASSES)) + "\n")
        (partial / "finished.json").write_text(json.dumps(recipe))
        partial.rename(root)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return root
