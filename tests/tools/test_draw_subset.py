import json
import subprocess
import sys

import pytest
from helpers import ROOT

from robustnet_mm.datasets import make_digit_scenes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("draw") / "data"
    return make_digit_scenes(folder, scenes=(6, 2), crops=(60, 20))


def draw(*args):
    command = [sys.executable, ROOT / "tools/dataset_converters/draw_subset.py", *args]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_parts_out_of_one_share_no_image_and_a_seed_draws_the_same_again(data, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        parts = ("train=train:3", "test=train:2", "--seed", seed)
        done = draw(data / "crops", tmp_path / name, *parts)
        assert done.returncode == 0, done.stderr
    first, again, other = (names(tmp_path / name) for name in "abc")
    assert len(first) == 50 and first == again != other
    train, test = ({n.partition("/")[2] for n in first if n.startswith(p)} for p in ("train", "te"))
    assert len(train) == 30 and not train & test
    one = sorted(first)[0]
    where = one.replace("test/", "train/", 1)
    assert (tmp_path / "a" / one).read_bytes() == (data / "crops" / where).read_bytes()


def test_annotations_follow_their_images(data, tmp_path):
    coco, target = tmp_path / "coco", tmp_path / "drawn"
    (coco / "annotations").mkdir(parents=True)
    content = json.loads((data / "annotations/instances_train.json").read_text())
    (coco / "annotations/instances_train.json").write_text(json.dumps(content))
    (coco / "images").symlink_to(data / "scenes/train")
    done = draw(coco, target, "train=train:4", "val=train:2")
    assert done.returncode == 0, done.stderr
    found = []
    for part, count in (("train", 4), ("val", 2)):
        drawn = json.loads((target / f"annotations/instances_{part}.json").read_text())
        ids = {image["id"] for image in drawn["images"]}
        assert len(ids) == count and drawn["categories"] == content["categories"]
        assert {a["image_id"] for a in drawn["annotations"]} == ids  # each scene has digits
        assert all((target / "images" / i["file_name"]).is_file() for i in drawn["images"])
        found += drawn["annotations"]
    assert sorted(a["id"] for a in found) == sorted(a["id"] for a in content["annotations"])


def test_all_categories_can_become_one(data, tmp_path):
    coco = tmp_path / "coco"
    (coco / "annotations").mkdir(parents=True)
    name = "annotations/instances_train.json"
    content = json.loads((data / name).read_text())
    (coco / name).write_text(json.dumps(content))
    (coco / "images").symlink_to(data / "scenes/train")
    done = draw(coco, tmp_path / "drawn", "train=train:6", "--merge", "object")
    assert done.returncode == 0, done.stderr
    drawn = json.loads((tmp_path / "drawn" / name).read_text())
    assert drawn["categories"] == [{"id": 1, "name": "object"}]
    boxes, expected = (sorted(a["bbox"] for a in c["annotations"]) for c in (drawn, content))
    assert boxes == expected and {a["category_id"] for a in drawn["annotations"]} == {1}


@pytest.mark.parametrize(
    "parts, message",
    [
        (["train=train:99"], "has 6 images, got 99 to be drawn: ask for fewer"),
        (["train=train:1", "train=train:2"], "each part may stand once, got train, train"),
        (["train=train:1", "--merge", "object"], "--merge needs annotations of COCO"),
        (["train=train:1", "--merge", ""], "--merge needs a name"),
        (["train:1"], "PART=FROM:COUNT such as train=train:200, got 'train:1'"),
    ],
)
def test_what_cannot_be_drawn_is_named_and_leaves_nothing(data, tmp_path, parts, message):
    done = draw(data / "crops", tmp_path / "none", *parts)
    assert done.returncode and message in done.stderr
    assert not list(tmp_path.iterdir())
