import json
import os
import shutil

import pytest
from mmengine.config import Config

from robustnet_mm.datasets import checks, make_digit_scenes
from robustnet_mm.datasets.checks import check_data

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "digits"
    return make_digit_scenes(folder, scenes=(4, 2), crops=(10, 10))


@pytest.fixture
def root(made, tmp_path):
    """Data that a test may spoil."""
    return shutil.copytree(made, tmp_path / "digits")


def coco(root, phase="train", **changes):
    dataset = dict(
        type="mmdet.CocoDataset",
        data_root=str(root),
        ann_file="annotations/instances_train.json",
        data_prefix=dict(img="scenes/train/"),
        metainfo=dict(classes=DIGITS),
    )
    return Config({f"{phase}_dataloader": dict(dataset=dataset | changes)})


def folder(root, kind="CustomDataset", **changes):
    dataset = dict(type=kind, data_root=str(root), data_prefix="crops/train")
    return Config(dict(train_dataloader=dict(dataset=dataset | changes)))


def test_good_data_passes_with_every_spelling_of_its_place(root, monkeypatch):
    check_data(coco(root))
    check_data(coco("", ann_file=f"{root}/annotations/instances_train.json",
                    data_prefix=dict(img=f"{root}/scenes/train")))  # fmt: skip
    check_data(folder(root))
    check_data(folder(root, data_prefix=dict(img_path="crops/train"), classes=DIGITS))
    check_data(folder(root / "crops", kind="mmpretrain.ImageNet", data_prefix="", split="train"))
    check_data(folder(root / "crops", "ImageNet", data_prefix="", split="train", classes=DIGITS))
    check_data(folder(root / "crops", data_prefix="", data_root=str(root / "crops/val")))
    check_data(Config(dict(model=dict(type="X"))))
    monkeypatch.chdir(root)
    check_data(coco("."))


def test_a_missing_data_folder_is_named_with_the_key_to_set(root):
    for cfg in (coco(root / "nowhere"), folder(root / "nowhere")):
        with pytest.raises(
            FileNotFoundError, match=r"nowhere.*--cfg-options train_dataloader\.data"
        ):
            check_data(cfg)
    with pytest.raises(FileNotFoundError, match=r"image folder .*pics.*data_prefix\.img=PATH"):
        check_data(coco(root, data_prefix=dict(img="pics")))
    with pytest.raises(FileNotFoundError, match=r"image folder .*pics"):
        check_data(folder(root, data_prefix="pics"))
    with pytest.raises(
        ValueError, match=r"data_prefix must be a dictionary with 'img', got 'pics'"
    ):
        check_data(coco(root, data_prefix="pics"))


def test_a_missing_annotation_file_is_named(root):
    with pytest.raises(FileNotFoundError, match=r"annotation file .*none\.json.*ann_file=PATH"):
        check_data(coco(root, ann_file="none.json"))
    with pytest.raises(FileNotFoundError, match=r"annotation file .*none\.txt"):
        check_data(folder(root, ann_file="none.txt"))


@pytest.mark.parametrize("content", ['{"images": [', "\x1f\x8b\x08\x00 gzip"])
def test_an_unreadable_annotation_is_named(root, content):
    (root / "cut.json").write_text(content)
    with pytest.raises(ValueError, match=r"cut\.json.*not readable as JSON"):
        check_data(coco(root, ann_file="cut.json"))


@pytest.mark.parametrize("content", [[1], {"images": []}])
def test_json_that_is_not_coco_is_named(root, content):
    (root / "other.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"other\.json.*must be a COCO dictionary"):
        check_data(coco(root, ann_file="other.json"))


def test_missing_images_are_counted_and_the_first_three_named(root):
    for index in (0, 1, 2, 3):
        (root / f"scenes/train/{index:06d}.jpg").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        check_data(coco(root))
    message = str(caught.value)
    assert "4 of the 4 images" in message and "instances_train.json" in message
    assert "000000.jpg, 000001.jpg, 000002.jpg" in message and "000003.jpg" not in message


def test_images_of_a_list_are_looked_up_in_their_subfolders_listing_each_once(root, monkeypatch):
    (root / "list.txt").write_text("3/000003.jpg 3\n3/absent.jpg 3\n4/000004.jpg 4\n12/x.jpg 1\n")
    listed = []
    real = os.listdir
    monkeypatch.setattr(checks.os, "listdir", lambda path: listed.append(str(path)) or real(path))
    with pytest.raises(FileNotFoundError, match=r"2 of the 4 images.*3/absent\.jpg, 12/x\.jpg"):
        check_data(folder(root, ann_file="list.txt"))
    assert len(listed) == 2


def test_classes_that_the_annotation_lacks_are_named_with_those_it_has(root):
    with pytest.raises(ValueError, match=r"\(0, 1, 2, 3, 4, 5, 6, 7 and 2 more\), got ten: write"):
        check_data(coco(root, metainfo=dict(classes=(*DIGITS, "ten"))))
    check_data(coco(root, metainfo=dict(classes=("3", "7"))))  # a part of them is a choice
    with pytest.raises(ValueError, match=r"got the string '3': one class is written \('3',\)"):
        check_data(coco(root, metainfo=dict(classes=("3"))))


def test_own_data_without_class_names_is_told_from_coco(root):
    with pytest.raises(ValueError, match=r"got person, bicycle.*72 more: write metainfo=dict"):
        check_data(coco(root, metainfo=None))


def test_a_wrong_number_of_class_folders_is_named(root):
    with pytest.raises(ValueError, match=r"\(10: 0, 1.*got 2: cat, dog"):
        check_data(folder(root, metainfo=dict(classes=("cat", "dog"))))
    with pytest.raises(ValueError, match="one folder of images for each class, got none"):
        check_data(folder(root, data_prefix="crops/train/3"))
    check_data(folder(root, data_prefix="crops/train/3", with_label=False))


def test_datasets_inside_wrappers_are_found_and_named_by_their_key(root):
    bad = coco(root / "nowhere").train_dataloader.dataset
    good = coco(root).train_dataloader.dataset
    repeat = dict(type="RepeatDataset", times=2, dataset=bad)
    both = dict(type="ConcatDataset", datasets=[good, repeat])
    with pytest.raises(
        FileNotFoundError, match=r"train_dataloader\.dataset\.datasets\.1\.dataset:"
    ):
        check_data(Config(dict(train_dataloader=dict(dataset=both))))


def test_only_the_phases_asked_for_are_looked_at(root):
    cfg = coco(root / "nowhere", phase="test")
    check_data(cfg, ("train", "val"))
    with pytest.raises(FileNotFoundError, match="test_dataloader"):
        check_data(cfg)


def test_unknown_types_and_remote_storage_are_left_to_their_host(root):
    check_data(coco("s3://bucket/digits"))
    check_data(coco("/nowhere", backend_args=dict(backend="petrel")))
    check_data(folder("/nowhere", kind="mmpretrain.CIFAR10"))


def test_one_annotation_file_is_read_once(root, monkeypatch):
    cfg = coco(root)
    cfg.val_dataloader = cfg.test_dataloader = cfg.train_dataloader
    read = []
    real = checks.load_coco
    monkeypatch.setattr(checks, "load_coco", lambda *args: read.append(1) or real(*args))
    check_data(cfg)
    assert len(read) == 1


def test_only_the_first_process_of_a_distributed_run_looks(root, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    check_data(coco(root / "nowhere"))


def test_skipping_broken_images_is_refused_where_results_are_measured(root):
    pipeline = [dict(type="robustnet_mm.LoadImage", on_error="skip")]
    check_data(coco(root, pipeline=pipeline))
    with pytest.raises(ValueError, match=r"pipeline\.0\.on_error must be 'raise' in val and test"):
        check_data(coco(root, phase="val", pipeline=pipeline))
