"""VOC and YOLO into COCO's form: pixel for pixel, and every mistake named."""

import runpy
import sys

import cv2
import numpy as np
import pytest
from helpers import ROOT
from pycocotools.coco import COCO

from robustnet_mm.datasets.checks import check_coco
from robustnet_mm.datasets.formats import CocoWriter, check_hierarchy, voc_to_coco, yolo_to_coco


def image(path, width=40, height=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def is_taken(out, split):
    """The data check of every training accepts it."""
    found = COCO(str(out / f"annotations/instances_{split}.json"))
    dataset = dict(
        type="CocoDataset",
        metainfo=dict(classes=tuple(one["name"] for one in found.cats.values())),
        data_root=str(out),
        ann_file=f"annotations/instances_{split}.json",
        data_prefix=dict(img="images/"),
        pipeline=[],
    )
    check_coco(dataset, "train_dataloader.dataset", {"train"}, "mmdet")
    return found


OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>
<xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""


def voc(root, number, *objects, size="<size><width>40</width><height>30</height></size>"):
    inside = "".join(OBJECT.format(*box, name=name, difficult=hard) for name, box, hard in objects)
    path = root / f"Annotations/{number}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = f"<filename>{number}.jpg</filename>"
    path.write_text(f"<annotation>{file}{size}{inside}</annotation>")


@pytest.fixture
def pascal(tmp_path):
    root = tmp_path / "VOC2007"
    for number in ("000001", "000002"):
        image(root / f"JPEGImages/{number}.jpg")
    voc(root, "000001", ("dog", (1, 1, 40, 30), 0), ("cat", (11, 6, 20, 15), 1))
    voc(root, "000002", ("cat", (5, 5, 9, 9), 0))
    lists = root / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("000001\n")
    (lists / "val.txt").write_text("000002\n")
    return root


def test_voc_counts_pixels_from_one_and_difficult_ones_are_crowds(pascal, tmp_path):
    out = tmp_path / "own"
    said = voc_to_coco(pascal, out, ["train", "val"])
    assert "1 images, 2 objects of 2 classes" in said[0]
    found = is_taken(out, "train")
    boxes = {found.cats[a["category_id"]]["name"]: a for a in found.anns.values()}
    assert boxes["dog"]["bbox"] == [0, 0, 40, 30] and boxes["dog"]["area"] == 1200
    assert boxes["cat"]["bbox"] == [10, 5, 10, 10]
    assert (boxes["dog"]["iscrowd"], boxes["cat"]["iscrowd"]) == (0, 1)
    assert found.cats == is_taken(out, "val").cats  # the same, whatever a split holds
    assert cv2.imread(str(out / "images" / found.imgs[1]["file_name"])).shape == (30, 40, 3)


def test_images_that_are_not_there_or_of_another_size_are_counted(pascal, tmp_path):
    voc(pascal, "000003", ("dog", (1, 1, 9, 9), 0))
    image(pascal / "JPEGImages/000004.jpg", 50, 30)
    voc(pascal, "000004", ("dog", (1, 1, 9, 9), 0))
    voc(pascal, "000005", ("dog", (1, 1, 9, 9), 0), ("dog", (41, 1, 60, 9), 0), size="")
    image(pascal / "JPEGImages/000005.jpg")
    (pascal / "ImageSets/Main/all.txt").write_text("000003\n000004\n000005 1\n\n")
    (said,) = voc_to_coco(pascal, tmp_path / "own", ["all"])
    assert "1 images, 1 objects" in said
    assert "left out: 1 images, not there (000003.jpg)" in said
    assert "left out: 1 images, of another size than its XML says (000004.jpg)" in said
    assert "left out: 1 objects, less than a pixel wide or high (000005.jpg, object 2)" in said


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda root: (root / "Annotations/000001.xml").write_text("<a>"), "000001.xml cannot be"),
        (lambda root: voc(root, "000001", ("", (1, 1, 2, 2), 0)), "an object lacks name"),
        (lambda root: voc(root, "000001", ("a", ("x", 1, 2, 2), 0)), "could not convert string"),
        (lambda root: voc(root, "000001", ("a", ("nan", 1, 2, 2), 0)), "must have finite numbers"),
        (lambda root: (root / "ImageSets/Main/train.txt").unlink(), "the splits of .* are val"),
        (lambda root: (root / "ImageSets/Main/train.txt").write_text(""), "nothing to write"),
    ],
)
def test_voc_that_is_broken_is_named_and_nothing_is_written(pascal, tmp_path, change, message):
    change(pascal)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        voc_to_coco(pascal, tmp_path / "own", ["train"], ["dog", "cat", "a"])
    assert not (tmp_path / "own").exists()


def test_nothing_is_written_where_a_later_split_or_the_images_are_wrong(pascal, tmp_path):
    out = tmp_path / "own"
    (pascal / "ImageSets/Main/val.txt").write_text("")
    with pytest.raises(ValueError, match="nothing to write into .*instances_val.json"):
        voc_to_coco(pascal, out, ["train", "val"], ["dog", "cat"])
    assert not out.exists()
    image(out / "images/mine.jpg")
    (out / "annotations").mkdir()
    (out / "annotations/instances_train.json").write_text("mine")
    with pytest.raises(ValueError, match="images is there already, and is not"):
        voc_to_coco(pascal, out, ["train"])
    assert (out / "annotations/instances_train.json").read_text() == "mine"


def test_a_class_that_is_not_in_the_list_is_named(pascal, tmp_path):
    with pytest.raises(ValueError, match="000001.jpg, object 2: 'cat' is none of the classes dog"):
        voc_to_coco(pascal, tmp_path / "own", ["train"], ["dog"])


@pytest.fixture
def yolo(tmp_path):
    root = tmp_path / "yolo"
    for name in ("train/a.jpg", "train/deep/b.png", "val/c.jpg"):
        image(root / "images" / name)
    for name, lines in {
        "train/a": "1 0.5 0.5 0.5 0.2\n0 0 0 0.5 0 0.5 1 0 1\n",
        "val/c": "0 0.25 0.5 0.5 1\n",
    }.items():
        path = root / f"labels/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines)
    (root / "data.yaml").write_text("names: {0: ant, 1: bee}\n")
    return root


def test_yolo_gives_boxes_and_polygons_and_images_without_objects(yolo, tmp_path):
    out = tmp_path / "own"
    said = yolo_to_coco(yolo, out, ["train", "val"])
    assert "2 images, 2 objects" in said[0] and "1 images have no file of labels" in said[0]
    found = is_taken(out, "train")
    assert [i["file_name"] for i in found.imgs.values()] == ["train/a.jpg", "train/deep/b.png"]
    box, polygon = found.anns.values()
    assert box["bbox"] == [10, 12, 20, 6] and box["category_id"] == 2 and "segmentation" not in box
    assert polygon["bbox"] == [0, 0, 20, 30] and polygon["area"] == 600
    assert found.annToMask(polygon).sum() == 600
    assert cv2.imread(str(out / "images/val/c.jpg")) is not None
    yolo_to_coco(yolo, yolo, ["val"])  # in its own place: the images are there already


@pytest.mark.parametrize(
    "line, message",
    [
        ("2 0.5 0.5 0.5 0.2", r"a.txt, line 1: class 2 is none of 0\.\.1"),
        ("0.5 0.5 0.5 0.5 0.2", "class 0.5 is none"),
        ("0 0.5 0.5 0.5", "after the class stand 4 numbers .* got 3"),
        ("0 0.5 0.5 0.5 1 1", "got 5: mend it"),
        ("0 0.5 0.5 1.5 0.2", r"must be in 0\.\.1, got '0 0.5"),
        ("ant 0.5 0.5 0.5 0.2", "must hold numbers, got 'ant"),
    ],
)
def test_a_line_of_yolo_that_means_nothing_is_named(yolo, tmp_path, line, message):
    (yolo / "labels/train/a.txt").write_text(line)
    with pytest.raises(ValueError, match=message):
        yolo_to_coco(yolo, tmp_path / "own", ["train"])


def test_yolo_without_names_or_with_strange_ones_says_so(yolo, tmp_path):
    (yolo / "data.yaml").write_text("names: {1: bee}\n")
    with pytest.raises(ValueError, match="numbered from 0 on, got"):
        yolo_to_coco(yolo, tmp_path / "own", ["train"])
    for text, message in (("names: [a", "is no YAML"), ("[a]", "must have names, a list")):
        (yolo / "data.yaml").write_text(text)
        with pytest.raises(ValueError, match=message):
            yolo_to_coco(yolo, tmp_path / "own", ["train"])
    (yolo / "data.yaml").unlink()
    with pytest.raises(FileNotFoundError, match="no data.yaml and no classes.txt"):
        yolo_to_coco(yolo, tmp_path / "own", ["train"])
    (yolo / "classes.txt").write_text("ant\nbee\n")
    assert "2 objects of 2 classes" in yolo_to_coco(yolo, tmp_path / "own", ["train"])[0]
    with pytest.raises(FileNotFoundError, match="test is not there"):
        yolo_to_coco(yolo, tmp_path / "own", ["test"])


def test_another_folder_of_images_is_not_replaced(yolo, tmp_path):
    image(tmp_path / "own/images/mine.jpg")
    with pytest.raises(ValueError, match="images is there already, and is not"):
        yolo_to_coco(yolo, tmp_path / "own", ["train"])
    assert (tmp_path / "own/images/mine.jpg").is_file()


def test_a_photograph_that_lies_on_its_side_has_the_size_that_is_read(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    found = CocoWriter(["a"]).add_image("a.jpg", tmp_path / "a.jpg")
    assert (found["width"], found["height"]) == (30, 40)


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_the_tool_converts(form, pascal, yolo, tmp_path, monkeypatch, capsys):
    path = str(ROOT / "tools/dataset_converters/to_coco.py")
    command = [path, form, str(dict(voc=pascal, yolo=yolo)[form])]
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / "own"), "train", "val"])
    runpy.run_path(path, run_name="__main__")
    assert capsys.readouterr().out.count("objects of 2 classes") == 2
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / "other"), "none"])
    with pytest.raises(SystemExit, match="to_coco.py: .*is not there"):
        runpy.run_path(path, run_name="__main__")


@pytest.mark.parametrize(
    "tree, message",
    [
        ([{"LabelName": "/m/a"}], r"does not name 1 of 2 classes, first Car \(/m/k"),
        ([{"LabelName": "/m/a"}, {"LabelName": "/m/x"}], "names '/m/x', which is no"),
        ([{"LabelName": "/m/a", "Subcategory": [{"LabelName": "/m/a"}]}], "has 'Animal' below its"),
    ],
)
def test_a_hierarchy_that_does_not_fit_is_named(tree, message):
    with pytest.raises(ValueError, match=message):
        check_hierarchy({"Subcategory": tree}, {"/m/a": "Animal", "/m/k": "Car"})
