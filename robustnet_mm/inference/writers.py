"""What is written of predictions, by what a model does.

Each writer takes one image after the other, with its path and with a name that no other image has,
and writes its file whole at the end.
"""

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np

from robustnet_mm.engine.metrics import HEADS
from robustnet_mm.engine.trained import TrainedModel
from robustnet_mm.files import WholeFileBackend


class CocoFile:
    """Detections as a COCO file: `images`, `categories`, and `annotations` with a `score`.

    Categories are numbered from 1 in the order of the model's classes. Masks are run-length
    encoded, their area is in pixels.

    Args:
        trained: A detector.
        score_thr: Detections below it are left out.
    """

    name = "predictions.json"

    def __init__(self, trained: TrainedModel, score_thr: float = 0.3):
        self._trained, self._score_thr = trained, score_thr
        self._images, self._objects = [], []

    def add(self, path: str, name: str, sample: object) -> None:
        """The detections of an image, a `DetDataSample`."""
        from pycocotools import mask as coco_mask

        height, width = sample.ori_shape[:2]
        image = dict(id=len(self._images) + 1, file_name=path, height=height, width=width)
        self._images.append(image)
        found = sample.pred_instances.cpu().numpy()
        for index in np.flatnonzero(found.scores >= self._score_thr):
            left, top, right, bottom = found.bboxes[index].tolist()
            box = [left, top, right - left, bottom - top]
            one = dict(
                id=len(self._objects) + 1,
                image_id=image["id"],
                category_id=int(found.labels[index]) + 1,
                bbox=[round(side, 2) for side in box],
                score=round(float(found.scores[index]), 5),
                iscrowd=0,
                area=round(box[2] * box[3], 2),
            )
            if "masks" in found:
                encoded = coco_mask.encode(np.asfortranarray(found.masks[index].astype(np.uint8)))
                one["segmentation"] = dict(size=encoded["size"], counts=encoded["counts"].decode())
                one["area"] = float(coco_mask.area(encoded))
            self._objects.append(one)

    def write(self, folder: Path) -> Path:
        most = max((one["category_id"] for one in self._objects), default=0)
        number = max(len(self._trained.classes), most)
        names = [*self._trained.classes]
        names += [self._trained.name(k) for k in range(len(names), number)]
        categories = [dict(id=k, name=str(name)) for k, name in enumerate(names, 1)]
        content = dict(images=self._images, annotations=self._objects, categories=categories)
        WholeFileBackend().put_text(json.dumps(content), folder / self.name)
        return folder / self.name


class ClassTable:
    """Classes as a CSV: the file, the class and its probability; of two towers those of each.

    Args:
        trained: A classifier.
        score_thr: Not used: a class is named always.
    """

    name = "predictions.csv"

    def __init__(self, trained: TrainedModel, score_thr: float = 0.3):
        self._trained, self._rows = trained, []

    def add(self, path: str, name: str, sample: object) -> None:
        """The classes of an image, a `DataSample` of mmpretrain."""
        row = dict(file=path)
        for suffix, field in HEADS.items():
            if field in sample:
                scores = getattr(sample, field)
                label = int(scores.argmax())
                row[f"class{suffix}"] = self._trained.name(label)
                row[f"score{suffix}"] = f"{float(scores[label]):.5f}"
        self._rows.append(row)

    def write(self, folder: Path) -> Path:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._rows[0] if self._rows else ["file"])
        writer.writeheader()
        writer.writerows(self._rows)
        WholeFileBackend().put_text(text.getvalue(), folder / self.name)
        return folder / self.name


class LabelImages:
    """Label maps as grey PNG files, whose values are the numbers of the classes.

    Beside them stand `classes.txt`, the names, and `files.csv`, of which image each map is. More
    than 256 classes make files of 16 bits.

    Args:
        trained: A segmentor.
        score_thr: Not used.
    """

    name = "labels"

    def __init__(self, trained: TrainedModel, score_thr: float = 0.3):
        self._trained, self._maps, self._files = trained, {}, []

    def add(self, path: str, name: str, sample: object) -> None:
        """The label map of an image, a `SegDataSample`."""
        depth = np.uint8 if len(self._trained.classes) <= 256 else np.uint16
        labels = sample.pred_sem_seg.data[0].cpu().numpy().astype(depth)
        self._files.append((f"{name}.png", path))
        self._maps[name] = cv2.imencode(".png", labels)[1].tobytes()

    def write(self, folder: Path) -> Path:
        for name, content in self._maps.items():
            WholeFileBackend().put(content, folder / self.name / f"{name}.png")
        classes = "\n".join(map(str, self._trained.classes)) + "\n"
        WholeFileBackend().put_text(classes, folder / self.name / "classes.txt")
        text = io.StringIO()
        csv.writer(text).writerows([("file", "image"), *self._files])
        WholeFileBackend().put_text(text.getvalue(), folder / self.name / "files.csv")
        return folder / self.name


def writer_for(
    trained: TrainedModel, score_thr: float = 0.3
) -> CocoFile | ClassTable | LabelImages:
    """The writer for what a model does.

    Raises:
        ValueError: A panoptic model, for which there is none.
    """
    kind = ClassTable
    if hasattr(trained.model, "panoptic_fusion_head"):
        raise ValueError(
            f"predictions of a {type(trained.model).__name__} have no file here: use mmdet's "
            "DetInferencer"
        )
    if trained.host.detects:
        kind = CocoFile
    elif trained.host.segments:
        kind = LabelImages
    return kind(trained, score_thr)
