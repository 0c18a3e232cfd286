"""tools/predict.py as it is called, on networks that were not trained."""

import csv
import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
from helpers import CLASSIFIER, DETECTOR, ROOT, open_exchanges
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from pycocotools.coco import COCO

from robustnet_mm.datasets import make_digit_scenes

TOOL = str(ROOT / "tools/predict.py")
SEGMENTOR = "configs/digit_scenes/segformer_robustnet-nano_digit-scenes.py"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return make_digit_scenes(
        tmp_path_factory.mktemp("digits") / "data", scenes=(1, 2), crops=(1, 1)
    )


@pytest.fixture
def predict(digits, tmp_path, monkeypatch):
    """Config, its scope, arguments -> what stands in the folder afterwards."""
    monkeypatch.setenv("DATA_ROOT", str(digits))
    monkeypatch.setenv("IMAGE_SIZE", "96")

    def run(config, scope, *arguments):
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(scope):
            model = MODELS.build(Config.fromfile(ROOT / config).model)
        open_exchanges(model.backbone)
        meta = dict(dataset_meta=dict(classes=tuple("0123456789")))  # as a training leaves it
        torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / "weights.pth")
        command = [TOOL, ROOT / config, tmp_path / "weights.pth", *arguments]
        command += ["--out-dir", tmp_path / "out"]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        runpy.run_path(TOOL, run_name="__main__")
        return tmp_path / "out"

    return run


def film(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 5, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 40 * number, np.uint8))
    writer.release()


def test_detections_are_a_coco_file_in_the_pixels_of_each_image(predict, digits, tmp_path):
    scenes = sorted((digits / "scenes/val").glob("*.jpg"))
    film(tmp_path / "film.mp4", 2)
    more = ["--cfg-options", "model.test_cfg.rcnn.score_thr=0", "model.test_cfg.rcnn.max_per_img=3"]
    images = [digits / "scenes/val", tmp_path / "film.mp4"]
    out = predict(DETECTOR, "mmdet", *images, "--score-thr", "0", *more)
    coco = COCO(str(out / "predictions.json"))
    names = [image["file_name"] for image in coco.imgs.values()]
    assert names == [*map(str, scenes), f"{tmp_path}/film.mp4#1", f"{tmp_path}/film.mp4#2"]
    assert [c["name"] for c in coco.cats.values()] == list("0123456789")
    assert len(coco.anns) == 12
    for one in coco.anns.values():
        image = coco.imgs[one["image_id"]]
        x, y, w, h = one["bbox"]
        assert -0.01 <= x <= x + w <= image["width"] + 0.01 and y + h <= image["height"] + 0.01
        assert coco.annToMask(one).shape == (image["height"], image["width"])
        assert one["area"] == coco.annToMask(one).sum() and 0 < one["score"] <= 1
    for path in scenes:
        drawn, plain = (cv2.imread(str(p)) for p in (out / f"pictures/{path.stem}.png", path))
        assert drawn.shape == plain.shape and (drawn != plain).any()
    video = cv2.VideoCapture(str(out / "pictures/film.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_classes_are_a_table_and_what_cannot_be_read_is_told(predict, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "same.png"), np.full((40, 56, 3), 99, np.uint8))
    (tmp_path / "b/cut.jpg").write_bytes(b"no picture")
    (tmp_path / "b/film.mp4").write_bytes(b"no video")
    with pytest.raises(SystemExit, match="1"):
        predict(CLASSIFIER, "mmpretrain", tmp_path / "a", f"{tmp_path}/b/*")
    said = capsys.readouterr().err
    assert "skipped 2 file(s)" in said and "cut.jpg is broken" in said
    assert "film.mp4 can be read for 0 of 0 frames" in said
    with (tmp_path / "out/predictions.csv").open() as file:
        first, second = csv.DictReader(file)
    assert [row.pop("file") for row in (first, second)] == [
        f"{tmp_path}/{folder}/same.png" for folder in "ab"
    ]
    assert first == second and 0 <= float(first["score_cnn"]) <= 1
    assert {first["class"], first["class_cnn"], first["class_vit"]} <= set("0123456789")
    pictures = sorted(path.name for path in (tmp_path / "out/pictures").iterdir())
    assert pictures == ["same-2.png", "same.png"]


def test_label_maps_are_images_of_class_numbers(predict, digits):
    pytest.importorskip("mmseg")
    scenes = sorted((digits / "scenes/val").glob("*.jpg"))
    out = predict(SEGMENTOR, "mmseg", digits / "scenes/val")
    assert len(list((out / "pictures").iterdir())) == len(scenes)
    again = predict(SEGMENTOR, "mmseg", digits / "scenes/val", "--no-pictures")  # a second drawer
    assert (again / "labels/files.csv").read_text().count("scenes/val") == len(scenes)
    for path in scenes:
        labels = cv2.imread(str(out / f"labels/{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert labels.shape == cv2.imread(str(path)).shape[:2] and labels.max() < 11
    assert len((out / "labels/classes.txt").read_text().split()) == 11


def test_places_that_hold_nothing_are_named_before_the_model_is_made(monkeypatch, tmp_path):
    for place, message in ((tmp_path, "holds no file of .jpg"), ("x*", "names no file")):
        command = [TOOL, "no.py", "no.pth", str(place), "--out-dir", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(ValueError, match=message):
            runpy.run_path(TOOL, run_name="__main__")
    assert not (tmp_path / "out").exists()
