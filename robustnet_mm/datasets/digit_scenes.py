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

import cv2
import numpy as np
from PIL import Image

CLASSES = tuple("0123456789")
SPLITS = ("train", "val")
SCENE_SIZE = 192  # pixels
CROP_SIZE = 64  # pixels
VERSION = 2  # raise it when the pictures change: folders of another version are refused
# motorcycle_left and motorcycle_right are one scene, so both are on the same side
PHOTOS = {
    "train": "skimage/astronaut.png skimage/camera.png skimage/cell.png skimage/grass.png "
    "skimage/hubble_deep_field.jpg skimage/ihc.png skimage/moon.png skimage/page.png "
    "skimage/motorcycle_left.png skimage/motorcycle_right.png skimage/retina.jpg "
    "skimage/rocket.jpg skimage/text.png skimage/brick.png sklearn/china.jpg",
    "val": "skimage/chelsea.png skimage/coffee.png skimage/coins.png skimage/gravel.png "
    "sklearn/flower.jpg",
}


def load_photos(split: str) -> list[np.ndarray]:
    """Reads the photographs of a split, each (H, W, 3) uint8 BGR."""
    import skimage.data
    import sklearn.datasets

    folders = {
        "skimage": Path(skimage.data.__file__).parent,
        "sklearn": Path(sklearn.datasets.__file__).parent / "images",
    }
    photos = []
    for package, file_name in (name.split("/") for name in PHOTOS[split].split()):
        path = folders[package] / file_name
        if not path.is_file():
            raise FileNotFoundError(
                f"the photograph {path} should come with {package} but is not there: "
                "pip install --force-reinstall scikit-image scikit-learn"
            )
        photos.append(np.asarray(Image.open(path).convert("RGB"))[..., ::-1])
    return photos


def load_glyphs(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the handwritten digits of a split: (N, 8, 8) float32 in [0, 1] and (N,) labels.

    A fifth of the digits is kept for `val`, the same whatever the seed of the pictures.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    num_val = len(order) // 5
    chosen = order[:num_val] if split == "val" else order[num_val:]
    return digits.images[chosen].astype(np.float32) / 16, digits.target[chosen]


def draw_digit(glyph: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Warps a glyph and draws it `size` pixels long.

    Args:
        glyph: (8, 8) in [0, 1].
        size: longer side of the tight box around the digit, in pixels.

    Returns:
        (h, w) float32 opacity in [0, 1], max(h, w) == size; above 0.5 is the digit's mask.
    """
    canvas = 128
    angle, shear = rng.uniform(-0.26, 0.26), rng.uniform(-0.2, 0.2)
    stretch = rng.uniform(0.85, 1.15)
    cos, sin = np.cos(angle), np.sin(angle)
    # canvas pixels -> glyph pixels, about the two centres; 10 canvas pixels to a glyph pixel
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, shear], [0, 1 / stretch]]) / 10
    ys, xs = np.mgrid[:canvas, :canvas].astype(np.float32) - (canvas - 1) / 2
    bend = cv2.resize(rng.normal(0, 3.5, (4, 4, 2)).astype(np.float32), (canvas, canvas))
    xs, ys = xs + bend[..., 0], ys + bend[..., 1]
    map_x = (turn[0, 0] * xs + turn[0, 1] * ys + 3.5).astype(np.float32)
    map_y = (turn[1, 0] * xs + turn[1, 1] * ys + 3.5).astype(np.float32)
    ink = cv2.remap(glyph, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    ink = cv2.GaussianBlur(ink, (0, 0), 2.5)

    threshold = rng.uniform(0.34, 0.5) * ink.max()
    x, y, w, h = cv2.boundingRect((ink > threshold).astype(np.uint8))
    scale = size / max(w, h)
    shape = (max(round(w * scale), 8), max(round(h * scale), 8))
    ink = cv2.resize(ink[y : y + h, x : x + w], shape, interpolation=cv2.INTER_AREA)
    return np.clip((ink - threshold) * size / 2.5 + 0.5, 0, 1)  # an edge is about a pixel wide


def dimmed_photo(photos: list[np.ndarray], side: int, rng: np.random.Generator) -> np.ndarray:
    """Cuts a random square from a random photograph, dims it: (side, side, 3) float32 BGR."""
    photo = photos[rng.integers(len(photos))]
    height, width = photo.shape[:2]
    cut = max(rng.uniform(0.4, 1.0) * min(height, width) * side / SCENE_SIZE, side)
    cut = min(int(cut), height, width)
    top, left = rng.integers(height - cut + 1), rng.integers(width - cut + 1)
    square = photo[top : top + cut, left : left + cut]
    square = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        square = square[:, ::-1]
    return square.astype(np.float32) * rng.uniform(0.3, 0.7)


def paste(image: np.ndarray, opacity: np.ndarray, top: int, left: int, rng: np.random.Generator):
    """Paints a digit in a bright random colour onto `image` (H, W, 3), in place."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(0.2, 0.9), rng.uniform(0.8, 1.0)]]])
    colour = cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2BGR) * 255
    window = image[top : top + opacity.shape[0], left : left + opacity.shape[1]]
    window += opacity[..., None] * (colour - window)


def make_crop(photos: list, glyph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One digit somewhere on a dimmed photograph: (64, 64, 3) uint8 BGR."""
    image = dimmed_photo(photos, CROP_SIZE, rng)
    opacity = draw_digit(glyph, int(rng.integers(32, 61)), rng)
    top = rng.integers(CROP_SIZE - opacity.shape[0] + 1)
    left = rng.integers(CROP_SIZE - opacity.shape[1] + 1)
    paste(image, opacity, top, left, rng)
    return _finish(image, rng)


def make_scene(
    photos: list, glyphs: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Several digits, mildly overlapping, on a dimmed photograph.

    A later digit covers an earlier one: covered pixels leave the earlier one's mask. A place where
    any digit would keep less than 80 % of its pixels is not taken.

    Returns:
        (192, 192, 3) uint8 BGR, and the label and visible mask (192, 192) of each digit.
    """
    image = dimmed_photo(photos, SCENE_SIZE, rng)
    wanted = rng.integers(2, 6)
    drawn: list[tuple[int, np.ndarray, int]] = []  # label, visible mask, pixels when uncovered
    for _ in range(40):
        if len(drawn) == wanted:
            break
        which = rng.integers(len(labels))
        opacity = draw_digit(glyphs[which], int(rng.integers(24, 97)), rng)
        top = rng.integers(SCENE_SIZE - opacity.shape[0] + 1)
        left = rng.integers(SCENE_SIZE - opacity.shape[1] + 1)
        mask = np.zeros((SCENE_SIZE, SCENE_SIZE), bool)
        mask[top : top + opacity.shape[0], left : left + opacity.shape[1]] = opacity > 0.5
        if any((below & ~mask).sum() < 0.8 * pixels for _, below, pixels in drawn):
            continue
        drawn = [(label, below & ~mask, pixels) for label, below, pixels in drawn]
        drawn.append((int(labels[which]), mask, int(mask.sum())))
        paste(image, opacity, top, left, rng)
    return _finish(image, rng), [(label, mask) for label, mask, _ in drawn]


def _finish(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds a camera's noise and rounds: float32 (H, W, 3) -> uint8."""
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(0, 6)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


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
