"""What a segmentor says of each pixel, and what the data of its config say."""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.registry import DATASETS, TRANSFORMS
from torch import nn

from robustnet_mm.engine.trained import READ_LABELS
from robustnet_mm.models.probe import undisturbed


@torch.no_grad()
def segment(model: nn.Module, picture) -> np.ndarray:
    """The class of each pixel of a `Picture`, as the segmentor sees it: (H, W)"""
    with undisturbed(model):
        (found,) = model.predict(picture.images, [picture.sample.clone()])
    labels = found.pred_sem_seg.data[0].cpu().numpy().astype(np.int16)
    return _resized(labels, picture)


class LabelMaps:
    """The label maps of a dataset of mmseg, found by the paths of the images.

    Args:
        dataset: Its config.
    """

    def __init__(self, dataset: dict):
        steps = [s for s in dataset["pipeline"] if str(s["type"]).endswith(READ_LABELS)]
        self._load = TRANSFORMS.build(steps[0]) if steps else None
        self._known = {}
        place = (dataset.get("data_prefix") or {}).get("img_path") or ""
        if not Path(dataset.get("data_root") or "", place).is_dir():
            return  # the data of the config are not on this machine
        built = DATASETS.build({**dataset, "pipeline": []})
        for index in range(len(built)):
            info = built.get_data_info(index)
            self._known[Path(info["img_path"]).resolve()] = info

    def of(self, picture) -> np.ndarray | None:
        """That of a `Picture`, in its pixels: (H, W) uint8; None where it is not in the data.

        Raises:
            ValueError: It has another size than the image.
        """
        info = self._known.get(Path(picture.path).resolve())
        if info is None or self._load is None:
            return None
        found = self._load.transform({**info, "ori_shape": picture.sample.ori_shape})
        labels, size = found["gt_seg_map"], tuple(picture.sample.ori_shape[:2])
        if labels.shape != size:
            raise ValueError(
                f"label image {info['seg_map_path']} must have the size of its image, {size}, got "
                f"{labels.shape}: make both of one size"
            )
        return _resized(labels, picture)


def _resized(labels: np.ndarray, picture) -> np.ndarray:
    size = picture.pixels.shape[1::-1]
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
