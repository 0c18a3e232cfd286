"""What a detector finds, in pixels of the image that it sees, and what is annotated there."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from robustnet_mm.models.probe import undisturbed

from .closing import closed_exchanges, has_tower_neck, without_cnn_maps


class Detections(NamedTuple):
    """K objects, best first."""

    boxes: np.ndarray  # (K, 4): x1, y1, x2, y2
    labels: np.ndarray  # (K,)
    scores: np.ndarray | None  # (K,); None for annotations
    masks: np.ndarray | None  # (K, H, W), boolean


@torch.no_grad()
def detect(model: nn.Module, picture, score_thr: float = 0.3, most: int = 100) -> Detections:
    """The detections of a `Picture` with at least `score_thr`, at most `most`."""
    sample = picture.sample.clone()
    with undisturbed(model):
        (found,) = model.predict(picture.images, [sample], rescale=False)
    found = found.pred_instances
    order = found.scores.argsort(descending=True)
    order = order[found.scores[order] >= score_thr][:most]
    masks = None
    if "masks" in found:
        masks = found.masks[order].cpu().numpy().astype(bool)
    boxes = found.bboxes[order].float().cpu().numpy()
    return Detections(
        boxes, found.labels[order].cpu().numpy(), found.scores[order].float().cpu().numpy(), masks
    )


def compare_detections(
    model: nn.Module, picture, score_thr: float = 0.3, most: int = 100
) -> dict[str, Detections]:
    """The same image with one tower switched off, and with both.

    Returns:
        'cnn only': exchanges closed, the neck sees the CNN's pyramid. 'vit only', where there is a
        `TowerNeck`: exchanges closed and the CNN's maps zero. 'both': the detector as it is.
    """
    found = {}
    with closed_exchanges(model):
        found["cnn only"] = detect(model, picture, score_thr, most)
    if has_tower_neck(model):
        with without_cnn_maps(model):
            found["vit only"] = detect(model, picture, score_thr, most)
    found["both"] = detect(model, picture, score_thr, most)
    return found


class Annotations:
    """Objects of a COCO file by the name of their image.

    Args:
        path: The file.
        classes: Names of the model's classes, whose numbers the labels get.

    Raises:
        ValueError: The file is no COCO annotation.
    """

    def __init__(self, path: str, classes: list[str]):
        try:
            content = json.loads(Path(path).read_text())
            self._images = {}
            for image in content["images"]:
                name = Path(image["file_name"]).name
                self._images.setdefault(name, []).append(image)
            names = {c["id"]: c["name"] for c in content["categories"]}
            objects = content["annotations"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"annotations must be a COCO file that can be read, got {path}: {error!r}"
            ) from error
        self._labels = {i: classes.index(n) for i, n in names.items() if n in classes}
        self._objects = {}
        for one in objects:
            self._objects.setdefault(one["image_id"], []).append(one)

    def _image(self, path: Path) -> dict | None:
        """The entry whose file this is; by the name alone only where no other has it."""
        found = self._images.get(path.name, [])
        whole = "/" + path.absolute().as_posix()
        named = [i for i in found if whole.endswith("/" + Path(i["file_name"]).as_posix())]
        most = max(named, key=lambda image: len(image["file_name"]), default=None)
        return most or (found[0] if len(found) == 1 else None)

    def of(self, picture) -> Detections | None:
        """The objects of a `Picture`, in its pixels; None where its image is not in the file."""
        from pycocotools import mask as coco_mask

        image = self._image(Path(picture.path))
        if image is None:
            return None
        height, width = picture.pixels.shape[:2]
        own = (image["height"], image["width"])
        objects = [
            o for o in self._objects.get(image["id"], []) if o["category_id"] in self._labels
        ]
        boxes, masks = [], []
        for one in objects:
            x, y, w, h = one["bbox"]
            boxes.append((x, y, x + w, y + h))
            if one.get("segmentation"):
                mask = _decode(coco_mask, one["segmentation"], own)
                masks.append(_resize(mask, (height, width)))
        scale = np.array([width / own[1], height / own[0]] * 2, np.float32)
        labels = np.array([self._labels[o["category_id"]] for o in objects], int)
        whole = np.stack(masks) if masks and len(masks) == len(boxes) else None
        return Detections(np.array(boxes, np.float32).reshape(-1, 4) * scale, labels, None, whole)

    def foreground(self, picture, classes=None) -> tuple[np.ndarray, np.ndarray] | None:
        """Where objects are, and where it is known whether there are: twice (H, W) bool.

        In a crowd it is not known. None where the image is not in the file, or has no masks.
        """
        from pycocotools import mask as coco_mask

        image = self._image(Path(picture.path))
        objects = [] if image is None else self._objects.get(image["id"], [])
        objects = [o for o in objects if o["category_id"] in self._labels]
        if image is None or any(not o.get("segmentation") for o in objects):
            return None
        size, own = picture.pixels.shape[:2], (image["height"], image["width"])
        wanted, crowds = np.zeros(size, bool), np.zeros(size, bool)
        for one in objects:
            mask = _resize(_decode(coco_mask, one["segmentation"], own), size)
            if one.get("iscrowd"):
                crowds |= mask
            elif classes is None or self._labels[one["category_id"]] in classes:
                wanted |= mask
        return wanted, ~crowds | wanted


def _decode(coco_mask, segmentation, shape: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, list):  # polygons
        encoded = coco_mask.merge(coco_mask.frPyObjects(segmentation, *shape))
    elif isinstance(segmentation["counts"], list):
        encoded = coco_mask.frPyObjects(segmentation, *shape)
    else:
        encoded = segmentation
    return coco_mask.decode(encoded).astype(bool)


def _resize(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    import cv2

    resized = cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST)
    return resized.astype(bool)
