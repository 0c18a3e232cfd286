"""Your own masks: a folder of images, and one of label images of the same names."""

from collections import Counter
from pathlib import Path

from mmseg.datasets import BaseSegDataset

from robustnet_mm.datasets import IMAGE_SUFFIXES
from robustnet_mm.datasets.annotations import few
from robustnet_mm.registry import DATASETS


@DATASETS.register_module()
class ImagesAndLabels(BaseSegDataset):
    """mmseg's dataset for images of any format, each with `<its name>.png` among the labels.

    Args:
        kwargs: Of mmseg's `BaseSegDataset`: `data_root`, `data_prefix=dict(img_path='images/train',
            seg_map_path='labels/train')`, `metainfo=dict(classes=..., palette=...)`, `pipeline`.

    Raises:
        ValueError: No images, two of one name, or images without labels.
    """

    def load_data_list(self) -> list[dict]:
        """Sorted by path; folders below are looked through, hidden files are not."""
        images = Path(self.data_prefix["img_path"])
        labels = Path(self.data_prefix["seg_map_path"])
        found = sorted(
            path
            for path in images.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        )
        if not found:
            raise ValueError(
                f"{images} must hold images ({', '.join(IMAGE_SUFFIXES)}), got none: set DATA_ROOT "
                "(docs/segmentation.md), or data_prefix.img_path"
            )
        pairs = [(p, labels / p.relative_to(images).with_suffix(".png")) for p in found]
        counted = Counter(str(label) for _, label in pairs)
        if twice := few(name for name, number in counted.items() if number > 1):
            raise ValueError(f"images of one name share a label image: {twice}: rename them")
        missing = [str(image.relative_to(images)) for image, label in pairs if not label.is_file()]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(pairs)} images have no label image in {labels}, which "
                f"must hold NAME.png for each: {few(missing)}: add them, or take the images out"
            )
        return [
            dict(
                img_path=str(image),
                seg_map_path=str(label),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for image, label in pairs
        ]
