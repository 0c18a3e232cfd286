"""Average precision of the kept detections of trainings: of several united, and of any images.

A folder is that of a training of a study, with `cell.py` and `predictions.pkl`. The precision is
pycocotools'.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, init_default_scope

KINDS = ("bbox", "segm")
THRESHOLDS = {"": np.linspace(0.5, 0.95, 10), "_50": np.array([0.5]), "_75": np.array([0.75])}


def united(predictions: list[list[dict]]) -> list[dict]:
    """The detections of several detectors, image by image: NMS at IoU 0.5, at most 100 an image.

    Raises:
        ValueError: They are of other images.
    """
    from mmcv.ops import batched_nms

    joined = []
    for samples in zip(*predictions, strict=True):
        if len({sample["img_id"] for sample in samples}) > 1:
            raise ValueError("the predictions to unite are of other images: train on the same data")
        parts = [sample["pred_instances"] for sample in samples]
        every = {
            name: torch.cat([part[name] for part in parts])
            for name in ("bboxes", "scores", "labels")
        }
        nms = dict(type="nms", iou_threshold=0.5)
        keep = torch.zeros(0, dtype=torch.long)
        if len(every["scores"]):  # or batched_nms fails
            _, keep = batched_nms(every["bboxes"], every["scores"], every["labels"], nms)
        keep = keep[:100]
        instances = {name: values[keep] for name, values in every.items()}
        if "masks" in parts[0]:
            masks = [mask for part in parts for mask in part["masks"]]
            instances["masks"] = [masks[index] for index in keep.tolist()]
        joined.append({**samples[0], "pred_instances": instances})
    return joined


def precision(folder: Path, samples: list[dict], metric: str) -> float:
    """`metric` of detections as the training in `folder` measured its own."""
    cfg = Config.fromfile(folder / "cell.py")
    metainfo = _metainfo(cfg)
    evaluator = Evaluator([entry for entry in cfg.val_evaluator if "out_file_path" not in entry])
    evaluator.dataset_meta = metainfo
    # the host measures nothing where nothing at all was detected
    return evaluator.offline_evaluate(samples).get(metric, 0.0)


def precision_of_draws(
    folder: Path, samples: list[dict], metric: str
) -> Callable[[np.ndarray], float]:
    """`metric` of detections over images that are drawn, with replacement, from those detected.

    Args:
        folder: Of a training on the images; it says where the annotations are.
        samples: The detections, one entry for each image.
        metric: 'coco/bbox_mAP' or 'coco/segm_mAP', or these with '_50' or '_75'.

    Returns:
        A function from the numbers of the drawn images (in the order of their ids) to the mean
        average precision over the classes that these images hold.

    Raises:
        ValueError: Another metric, or no masks.
    """
    known = [f"coco/{kind}_mAP{level}" for kind in KINDS for level in THRESHOLDS]
    if metric not in known:
        raise ValueError(f"images can be drawn anew for {', '.join(known)}, got {metric!r}")
    kind, _, level = metric.removeprefix("coco/").partition("_mAP")
    if kind == "segm" and any("masks" not in sample["pred_instances"] for sample in samples):
        raise ValueError(f"{metric} needs masks, and the detections in {folder} have none")
    evaluated = _evaluated(folder, samples, THRESHOLDS[level], kind)
    shape = len(evaluated.params.catIds), len(evaluated.params.imgIds)
    entries = np.array(evaluated.evalImgs, dtype=object).reshape(shape)

    def of(drawn: np.ndarray) -> float:
        evaluated.evalImgs = entries[:, drawn].ravel().tolist()
        evaluated._paramsEval.imgIds = evaluated.params.imgIds = list(range(len(drawn)))
        with contextlib.redirect_stdout(io.StringIO()):
            evaluated.accumulate()
        found = evaluated.eval["precision"]
        return float(found[found > -1].mean()) if (found > -1).any() else 0.0

    return of


def _metainfo(cfg: Config) -> dict:
    """Of the test images; the registries look for the rest in the scope of the training."""
    init_default_scope(cfg.default_scope)
    dataset = {**cfg.val_dataloader.dataset, "lazy_init": True}
    return DATASETS.build(dataset).metainfo


def _evaluated(folder: Path, samples: list[dict], thresholds: np.ndarray, kind: str):
    """pycocotools' matches of detections and annotations, image by image."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    cfg = Config.fromfile(folder / "cell.py")
    file = next(entry.ann_file for entry in cfg.val_evaluator if "ann_file" in entry)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(file)
        classes = truth.getCatIds(catNms=list(_metainfo(cfg)["classes"]))
        found = []
        for sample in samples:
            instances = sample["pred_instances"]
            parts = (instances[name].tolist() for name in ("bboxes", "scores", "labels"))
            masks = instances["masks"] if kind == "segm" else [None] * len(instances["scores"])
            for (left, top, right, bottom), score, label, mask in zip(*parts, masks, strict=True):
                one = dict(image_id=sample["img_id"], category_id=classes[label], score=score)
                box = [left, top, right - left, bottom - top]
                found.append(one | (dict(bbox=box) if mask is None else dict(segmentation=mask)))
        detected = truth.loadRes(found) if found else COCO()  # it takes no empty list
        evaluated = COCOeval(truth, detected, kind)
        params = evaluated.params
        params.imgIds, params.catIds = [sample["img_id"] for sample in samples], classes
        params.iouThrs, params.maxDets = thresholds, [100]
        params.areaRng, params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluated.evaluate()
    return evaluated
