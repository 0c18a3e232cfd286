"""Open Images' tables into COCO's form, as mmdet's own dataset and metric read them."""

import csv
import json
import pickle
import runpy
import sys

import pytest
import torch
from helpers import ROOT
from PIL import Image
from pycocotools.coco import COCO

CLASSES = {"/m/a": "Animal", "/m/d": "Dog", "/m/c": "Cat", "/m/k": "Car"}
TREE = {
    "LabelName": "/m/root",
    "Subcategory": [
        {"LabelName": "/m/a", "Subcategory": [{"LabelName": "/m/d"}, {"LabelName": "/m/c"}]},
        {"LabelName": "/m/k"},
    ],
}
HEADER = "ImageID Source LabelName Confidence XMin XMax YMin YMax IsOccluded IsTruncated".split()
HEADER += "IsGroupOf IsDepiction IsInside".split()


def row(number, label, left, right, top, bottom, group=0):
    return [number, "xclick", label, 1, left, right, top, bottom, 0, 0, group, 0, 0]


@pytest.fixture
def open_images(tmp_path):
    root = tmp_path / "OpenImages"
    for number, size in dict(aa=(40, 30), bb=(64, 48)).items():
        path = root / f"OpenImages/validation/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(path)
    tables = root / "annotations"
    tables.mkdir()
    rows = [row("aa", "/m/d", 0.25, 0.75, 0, 0.5), row("aa", "/m/a", 0, 1, 0, 1, group=1)]
    rows += [row("bb", "/m/k", 0.5, 1, 0.5, 1)]
    for name, content in {
        "validation-annotations-bbox": [HEADER, *rows],
        "class-descriptions-boxable": [list(item) for item in CLASSES.items()],
        "validation-annotations-human-imagelabels-boxable": [
            ["ImageID", "Source", "LabelName", "Confidence"],
            ["aa", "verification", "/m/d", 1],
            ["aa", "verification", "/m/k", 0],
            ["bb", "verification", "/m/k", 1],
        ],
    }.items():
        with (tables / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(content)
    (tables / "bbox_labels_600_hierarchy.json").write_text(json.dumps(TREE))
    return root


@pytest.fixture
def convert(open_images, monkeypatch, capsys):
    def run(*flags):
        path = str(ROOT / "tools/dataset_converters/open_images.py")
        monkeypatch.setattr(sys, "argv", [path, str(open_images), "validation", *map(str, flags)])
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    return run


def test_open_images_become_coco_with_groups_as_crowds(convert, open_images, tmp_path):
    file = open_images / "annotations/instances_validation.json"
    said = convert("--coco", file)
    assert "4 classes, 2 levels, 2 pairs of a class and one above" in said
    assert "2 images, 3 objects of 4 classes" in said
    found = COCO(str(file))
    assert [c["name"] for c in found.cats.values()] == list(CLASSES.values())
    dog, group, car = found.anns.values()
    assert dog["bbox"] == [10, 0, 20, 15] and dog["iscrowd"] == 0
    assert group["bbox"] == [0, 0, 40, 30] and group["iscrowd"] == 1
    assert car["bbox"] == [32, 24, 32, 24] and found.imgs[car["image_id"]]["width"] == 64
    (open_images / "OpenImages/validation/bb.jpg").unlink()
    assert "left out: 1 images, not there (bb.jpg)" in convert("--coco", file)
    with pytest.raises(SystemExit, match=r"1 images of .* are not in .*\(bb.jpg\): fetch them"):
        convert("--metas")


def test_mmdets_own_dataset_metric_and_sampler_work_on_it(convert, open_images):
    """The config's data: boxes of groups and classes above count, and each class is drawn."""
    from mmengine.config import Config
    from mmengine.registry import DATA_SAMPLERS, DATASETS, METRICS, DefaultScope

    convert("--metas")
    metas = open_images / "annotations/validation-image-metas.pkl"
    assert pickle.loads(metas.read_bytes())[1] == dict(filename="bb.jpg", ori_shape=(48, 64, 3))
    name = "faster-rcnn_convnext-tiny-dinov2-small_fpn_1x_open-images"
    cfg = Config.fromfile(ROOT / f"configs/open_images/{name}.py")
    loader = cfg.val_dataloader
    loader.dataset.data_root = str(open_images)
    loader.dataset.pipeline[1].scale = (64, 64)
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(loader.dataset)
        for with_groups, precision in ((True, 1.0), (False, 5 / 6)):  # animals: one of two found
            metric = METRICS.build(cfg.val_evaluator)
            metric.dataset_meta = dataset.metainfo
            for sample in (dataset[k]["data_samples"] for k in range(len(dataset))):
                wanted = [o for o in sample.instances if with_groups or not o["is_group_of"]]
                found = dict(bboxes=[o["bbox"] for o in wanted], scores=[1.0] * len(wanted))
                found["labels"] = [o["bbox_label"] for o in wanted]
                found = {key: torch.tensor(value) for key, value in found.items()}
                metric.process({}, [dict(sample.to_dict(), pred_instances=found)])
            measured = metric.evaluate(len(dataset))["openimages/AP50"]
            assert measured == pytest.approx(precision, abs=1e-3)  # the host rounds
        sampler = DATA_SAMPLERS.build(dict(cfg.train_dataloader.sampler, dataset=dataset, seed=0))
        drawn = list(sampler)
    assert set(drawn) <= {0, 1} and len(drawn) == len(sampler)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("validation-annotations-bbox.csv", "ImageID,LabelName\n", "must have a column XMin"),
        ("class-descriptions-boxable.csv", "/m/a\n", "must have rows of identifier, name"),
        ("bbox_labels_600_hierarchy.json", "no", "is no JSON"),
        ("bbox_labels_600_hierarchy.json", "[]", "must be a tree"),
    ],
)
def test_tables_that_are_none_are_named(convert, open_images, name, content, message):
    (open_images / "annotations" / name).write_text(content)
    with pytest.raises(SystemExit, match=message):
        convert("--coco", open_images / "a.json")
    (open_images / "annotations" / name).unlink()
    with pytest.raises(SystemExit, match=f"{name} is not there"):
        convert()


def test_rows_of_an_image_must_stand_together(convert, open_images):
    table = open_images / "annotations/validation-annotations-bbox.csv"
    with table.open("a", newline="") as file:
        csv.writer(file).writerow(row("aa", "/m/d", 0, 1, 0, 1))
    with pytest.raises(SystemExit, match="the rows of image aa do not stand together"):
        convert("--metas")
