import os

import pytest

from robustnet_mm.datasets import class_folders as module
from robustnet_mm.datasets.class_folders import class_folders


@pytest.fixture
def made(tmp_path):
    """Makes files and answers with their folder."""

    def do(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return do


def test_classes_are_the_folders_by_name_as_mmpretrain_sees_them(made):
    from mmpretrain.datasets import CustomDataset

    root = made("dog/1.JPG", "Cat/inner/deeper/2.png", "eel/3.webp", "eel/4.tif", "readme.txt")
    theirs = CustomDataset(str(root)).metainfo["classes"]
    assert class_folders(root, "train", True) == list(theirs) == ["Cat", "dog", "eel"]


@pytest.mark.parametrize(
    "name",
    [".git", ".ipynb_checkpoints", ".thumbnails", "__MACOSX", "__pycache__", "@eaDir",
     "lost+found", "$RECYCLE.BIN"],
)  # fmt: skip
@pytest.mark.parametrize("training", [True, False])
def test_a_folder_that_is_no_class_is_named(made, name, training):
    root = made("cat/1.jpg", "dog/1.jpg", f"{name}/1.jpg")
    with pytest.raises(ValueError) as caught:
        class_folders(root, "train", training)
    assert f"folder {name!r} in {str(root)!r} would be counted as a class" in str(caught.value)


def test_a_tree_a_level_too_deep_names_the_folder_to_set(made):
    root = made("all/cat/1.jpg", "all/dog/1.jpg")
    with pytest.raises(ValueError, match=r"folders \(cat, dog\).*data_root\) to '.*/all', or move"):
        class_folders(root, "train", True)
    assert class_folders(made("all/1.jpg"), "train", True) == ["all"]  # one class, after all


def test_the_splits_of_a_set_are_no_classes(made):
    root = made("train/cat/1.jpg", "val/cat/1.jpg")
    with pytest.raises(ValueError, match=r"got train, val, without .*to '.*/train'"):
        class_folders(root, "train", True)
    assert class_folders(made("train/1.jpg", "val/1.jpg"), "train", True) == ["train", "val"]


def test_classes_that_sort_their_images_into_folders_are_none_too_deep(made):
    assert class_folders(made("cat/a/1.jpg", "dog/b/1.jpg"), "train", True) == ["cat", "dog"]


def test_a_class_without_images_is_an_error_in_training_alone(made):
    root = made("cat/1.jpg", "eel/1.webp", "eel/inner/.2.jpg", "fox/x")
    with pytest.raises(ValueError, match=r"'eel', 'fox' in .* has no images, no names that end in"):
        class_folders(root, "train", True)
    assert class_folders(root, "val", False) == ["cat", "eel", "fox"]
    assert class_folders(root, "train", False, [".WEBP"]) == ["cat", "eel", "fox"]


def test_a_set_without_any_image_is_an_error_everywhere(made):
    with pytest.raises(ValueError, match="class 'cat', 'dog' in .* has no images"):
        class_folders(made("cat/1.txt", "dog/1.txt"), "val", False)
    with pytest.raises(ValueError, match="got none: sort the images into folders"):
        class_folders(made() / "cat", "val", False)


def test_looking_for_images_stops_at_the_first_and_opens_no_folder_before_it(made, monkeypatch):
    root = made("cat/a/1.jpg", *(f"cat/{k}.jpg" for k in range(50)), "dog/1.jpg")
    looked, real = [], os.scandir
    monkeypatch.setattr(module.os, "scandir", lambda path: looked.append(str(path)) or real(path))
    class_folders(root, "train", True)
    assert looked == [str(root), str(root / "cat"), str(root / "dog")]
