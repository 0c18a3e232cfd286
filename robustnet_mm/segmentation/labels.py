"""Label images: one channel, a class number a pixel, 255 where there is none."""

import io

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image

from robustnet_mm.arguments import check_whole
from robustnet_mm.attention.masks import VOID
from robustnet_mm.registry import TRANSFORMS


def read_labels(path: str) -> np.ndarray:
    """(H, W) of whole numbers, as the file has them; the colours of a palette are not looked at.

    Raises:
        ValueError: No picture, or one in colours.
    """
    try:
        picture = Image.open(io.BytesIO(fileio.get(path)))
        pixels = np.asarray(picture)
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, ...
        raise ValueError(f"label image {path} cannot be read ({error}): make it again") from error
    if pixels.ndim != 2 or picture.mode not in ("L", "P", "I", "I;16"):
        raise ValueError(
            f"label image {path} must have one channel of class numbers, got mode {picture.mode}: "
            "write each pixel's class as a grey value (0, 1, ...), and 255 where there is none"
        )
    return pixels


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """mmseg's `LoadAnnotations` that says which file is wrong, and how.

    Put it right after the image is loaded, or in a test pipeline after its resizing: it compares
    the label image with the file's own size (`ori_shape`).

    Args:
        num_classes: Values from there on, but 255, are errors.

    Raises:
        ValueError: A label image that is no such, of another size than its image, or with a value
            that is no class.
    """

    def __init__(self, num_classes: int):
        check_whole("num_classes", num_classes, 1, VOID)
        self.num_classes = num_classes

    def transform(self, results: dict) -> dict:
        """Adds `gt_seg_map`, (H, W) uint8."""
        path = results["seg_map_path"]
        if results.get("reduce_zero_label") or results.get("label_map"):
            raise ValueError(
                "LoadLabels takes the numbers as they are, got a dataset with reduce_zero_label or "
                "other classes than its own: use mmseg's LoadAnnotations for it"
            )
        labels = read_labels(path)
        if labels.shape != tuple(results["ori_shape"]):
            (h, w), (height, width) = labels.shape, results["ori_shape"]
            raise ValueError(
                f"label image {path} has {w} x {h} pixels and its image {results['img_path']} "
                f"{width} x {height}: make both of one size"
            )
        values = np.unique(labels)
        strange = values[(values < 0) | (values >= self.num_classes) & (values != VOID)]
        if strange.size:
            raise ValueError(
                f"label image {path} has the value {strange[0]}, and classes are 0 to "
                f"{self.num_classes - 1}, 255 for none: add the class, or mend the file"
            )
        results["gt_seg_map"] = labels.astype(np.uint8)
        results["seg_fields"].append("gt_seg_map")
        return results
