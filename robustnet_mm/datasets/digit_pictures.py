"""Pictures of DigitScenes: real handwritten digits over crops of dimmed photographs.

The digits are scikit-learn's 1797; the photographs lie inside the scikit-image and scikit-learn
wheels. Random numbers come from the caller, so the same ones give the same pictures.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SCENE_SIZE = 192  # pixels
CROP_SIZE = 64  # pixels
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
