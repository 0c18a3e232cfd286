import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from robustnet_mm.datasets import digit_scenes
from robustnet_mm.datasets.digit_pictures import load_glyphs, load_photos, make_scene
from robustnet_mm.datasets.digit_scenes import make_digit_scenes

FEW = {"scenes": (12, 6), "crops": (20, 10)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_digit_scenes(tmp_path_factory.mktemp("data") / "digits", **FEW)


def fingerprints(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def instances(root: Path, split: str) -> dict:
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(root, tmp_path):
    again = make_digit_scenes(tmp_path / "again", **FEW)
    other = make_digit_scenes(tmp_path / "other", seed=1, **FEW)
    assert fingerprints(again) == fingerprints(root)
    name = "annotations/instances_train.json"
    assert fingerprints(other)[name] != fingerprints(root)[name]


def test_asking_for_more_pictures_leaves_the_first_ones_as_they_are(root, tmp_path):
    more = fingerprints(make_digit_scenes(tmp_path / "more", scenes=(13, 6), crops=(30, 10)))
    for name, value in fingerprints(root).items():
        assert more[name] == value or name.endswith(".json"), name


def test_label_maps_say_of_each_pixel_what_the_annotations_say(root):
    names = (root / "classes.txt").read_text().splitlines()
    assert names == ["background", *"0123456789"]
    content = instances(root, "val")
    for image in content["images"]:
        labels = cv2.imread(str(root / f"labels/val/{Path(image['file_name']).stem}.png"), -1)
        expected = np.zeros_like(labels)
        for one in content["annotations"]:
            if one["image_id"] == image["id"]:
                expected[coco_mask.decode(one["segmentation"]) > 0] = one["category_id"]
        assert expected.any() and np.array_equal(labels, expected)


def test_annotations_are_loadable_coco_with_tight_boxes_of_the_visible_masks(root):
    for split in ("train", "val"):
        content = instances(root, split)
        assert [category["name"] for category in content["categories"]] == list("0123456789")
        assert min(annotation["id"] for annotation in content["annotations"]) == 1
        for annotation in content["annotations"]:
            mask = coco_mask.decode(annotation["segmentation"])
            ys, xs = np.nonzero(mask)
            box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            assert annotation["bbox"] == box and annotation["area"] == mask.sum()
            assert mask.shape == (192, 192)
            assert 24 <= max(box[2:]) + 12 and max(box[2:]) <= 97
        for image in content["images"]:
            picture = cv2.imread(str(root / "scenes" / split / image["file_name"]))
            assert picture.shape == (image["height"], image["width"], 3)


def test_a_mask_follows_the_colour_of_its_digit(root):
    """Inside a mask the picture is uniform, against the ring just outside it."""
    content, better, total = instances(root, "train"), 0, 0
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for annotation in content["annotations"]:
        picture = cv2.imread(str(root / "scenes/train" / names[annotation["image_id"]]))
        mask = coco_mask.decode(annotation["segmentation"])
        kernel = np.ones((3, 3), np.uint8)
        inside = cv2.erode(mask, kernel) > 0
        ring = (cv2.dilate(mask, kernel, iterations=4) - cv2.dilate(mask, kernel)) > 0
        colour = np.median(picture[inside], axis=0)
        distance = np.abs(picture - colour).mean(axis=-1)
        better += np.median(distance[inside]) < 0.5 * np.median(distance[ring])
        total += 1
    assert total > 25 and better > 0.95 * total


def test_categories_name_the_digits_that_were_drawn(root):
    photos, (glyphs, labels) = load_photos("train"), load_glyphs("train")
    _, digits = make_scene(photos, glyphs, labels, np.random.default_rng([0, 0, 0, 2]))
    content = instances(root, "train")
    names = {category["id"]: category["name"] for category in content["categories"]}
    written = [one["category_id"] for one in content["annotations"] if one["image_id"] == 3]
    assert [names[number] for number in written] == [str(label) for label, _ in digits]


def test_crops_lie_in_the_folder_of_their_digit(tmp_path, monkeypatch):
    glyphs, labels = map(np.concatenate, zip(*map(load_glyphs, ("train", "val")), strict=True))

    def shade_of_digit(photos, glyph, rng):
        label = labels[(glyphs == glyph).all((1, 2))][0]
        return np.full((64, 64, 3), 20 * label, np.uint8)

    monkeypatch.setattr(digit_scenes, "make_crop", shade_of_digit)
    root = digit_scenes.make_digit_scenes(tmp_path / "made", scenes=(1, 1), crops=(20, 10))
    written = sorted(root.glob("crops/*/*/*"))
    assert len(written) == 30
    for path in written:  # JPEG moves a plain grey by no more than its rounding
        assert abs(cv2.imread(str(path)).mean() - 20 * int(path.parent.name)) < 4


def test_crops_hold_every_class_in_folders_named_like_it(root):
    for split, count in (("train", 20), ("val", 10)):
        folders = sorted((root / "crops" / split).iterdir())
        assert [folder.name for folder in folders] == list("0123456789")
        assert sum(len(list(folder.iterdir())) for folder in folders) == count
        assert cv2.imread(str(next(folders[3].iterdir()))).shape == (64, 64, 3)


def test_a_finished_folder_is_returned_without_making_anything(root, monkeypatch):
    monkeypatch.setattr(digit_scenes, "_write_scenes", None)
    assert make_digit_scenes(root, **FEW) == root


def test_another_recipe_or_foreign_files_in_the_folder_are_refused(root, tmp_path):
    with pytest.raises(FileExistsError, match=r"(?s)'seed': 0.*'seed': 5.*choose another"):
        make_digit_scenes(root, seed=5, **FEW)
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="choose another folder"):
        make_digit_scenes(tmp_path, **FEW)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_run_that_fails_half_way_leaves_nothing_behind(tmp_path):
    def stop(done, total):
        assert total == 48
        if done == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_digit_scenes(tmp_path / "digits", progress=stop, **FEW)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_runs_are_removed_and_those_of_living_ones_are_not(tmp_path):
    (tmp_path / ".digits.partial-4194999").mkdir()  # above Linux's largest process id
    (tmp_path / f".digits.partial-{os.getppid()}").mkdir()
    make_digit_scenes(tmp_path / "digits", scenes=(1, 1), crops=(1, 1))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f".digits.partial-{os.getppid()}", "digits"]


def test_counts_below_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"at least 1, got \(0, 1\)"):
        make_digit_scenes(tmp_path / "digits", scenes=(0, 1))
