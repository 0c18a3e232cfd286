import json
import pickle

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config

from robustnet_mm.datasets import make_digit_scenes
from robustnet_mm.studies import join, score_of_draws


@pytest.fixture
def detections(tmp_path):
    """(annotations by image id, a function that keeps detections as a training does)."""
    data = make_digit_scenes(tmp_path / "data", scenes=(2, 3), crops=(10, 10))
    file = data / "annotations/instances_val.json"
    content = json.loads(file.read_text())
    ids = sorted(c["id"] for c in content["categories"])
    truth = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        truth[annotation["image_id"]].append(annotation)
    cfg = Config.fromfile(ROOT / "configs/digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py")
    cfg.val_evaluator = [dict(type="CocoMetric", ann_file=str(file), metric="bbox")]

    def keep(name, seen):
        samples = []
        for image, annotations in seen.items():
            boxes = torch.tensor([a["bbox"] for a in annotations]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            labels = [ids.index(a["category_id"]) for a in annotations]
            instances = dict(
                bboxes=boxes,
                scores=torch.full((len(boxes),), 0.9),
                labels=torch.tensor(labels, dtype=torch.long),
                masks=[a["segmentation"] for a in annotations],
            )
            samples.append(dict(img_id=image, ori_shape=(192, 192), pred_instances=instances))
        folder = tmp_path / name / "seed_0"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "predictions.pkl").write_bytes(pickle.dumps(samples))
        cfg.dump(folder / "cell.py")
        return folder

    return truth, keep


def test_two_detectors_are_united_and_what_both_see_counts_once(detections):
    truth, keep = detections
    half = {image: len(annotations) // 2 for image, annotations in truth.items()}
    one = keep("one", {image: truth[image][: n + 1] for image, n in half.items()})
    two = keep("two", {image: truth[image][n:] for image, n in half.items()})
    found = join([one, two], [""] * 2, "coco/bbox_mAP")
    alone = join([one], [""], "coco/bbox_mAP")
    assert alone < found == 1  # all that one or the other sees is right, and all is seen
    for name in ("one", "two"):  # images in which neither sees anything
        keep(name, {image: [] for image in truth})
    assert join([one, two], [""] * 2, "coco/bbox_mAP") == 0


def test_the_precision_of_drawn_images_is_the_hosts_over_those_images(detections):
    truth, keep = detections
    first, *others = sorted(truth)
    metric, heads = "coco/bbox_mAP_50", (["sum"], [1])
    seen = {first: truth[first]} | {image: truth[image][::2] for image in others}
    folder = keep("one", dict(reversed(seen.items())))  # in another order than that of the ids
    images, score = score_of_draws([folder], *heads, metric)
    assert images == 3
    whole = join([folder], [""], metric)  # rounded by the host
    assert score(np.arange(3)) == pytest.approx(whole, abs=6e-4) and score([1, 2]) < 1
    assert score([0]) == pytest.approx(1) == score([0, 0, 0])  # the one image in which all is found
    assert score([0, 1]) > score([0, 1, 1])
    blind = keep("two", dict.fromkeys(reversed(seen), []))
    assert score_of_draws([blind], *heads, metric)[1](np.arange(3)) == 0
    both = score_of_draws([folder, blind], ["sum"] * 2, [1] * 2, metric)[1]
    assert both(np.arange(3)) == score(np.arange(3))
    for change, message in (
        (dict(metric="coco/AR"), "coco/bbox_mAP_75, .*coco/segm_mAP_75, got 'coco/AR'"),
        (dict(heads=["cnn"]), "no heads and no weights, got \\['cnn'\\]"),
    ):
        arguments = dict(heads=["sum"], weights=[1], metric=metric) | change
        with pytest.raises(ValueError, match=message):
            score_of_draws([folder], **arguments)


def test_the_precision_of_masks_is_that_of_masks(detections):
    truth, keep = detections
    folder = keep("one", truth)
    heads = (["sum"], [1], "coco/segm_mAP")
    assert score_of_draws([folder], *heads)[1](np.arange(3)) == pytest.approx(1)
    samples = pickle.loads((folder / "predictions.pkl").read_bytes())
    for sample in samples:  # another's mask in each box
        masks = sample["pred_instances"]["masks"]
        sample["pred_instances"]["masks"] = [*masks[1:], *masks[:1]]
    (folder / "predictions.pkl").write_bytes(pickle.dumps(samples))
    assert score_of_draws([folder], *heads)[1](np.arange(3)) < 0.5
    assert score_of_draws([folder], ["sum"], [1], "coco/bbox_mAP")[1](np.arange(3)) == 1
