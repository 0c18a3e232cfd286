"""Images and label images, right and wrong."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mmseg")
from robustnet_mm.datasets import listed_classes  # noqa: E402
from robustnet_mm.segmentation import ImagesAndLabels, LoadLabels  # noqa: E402


@pytest.fixture
def root(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k, suffix in enumerate(("b.jpg", "deep/a.png", "c.JPEG")):
        pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / suffix)
        labels = np.full((6, 8), k, np.uint8)
        labels[0, 0] = 255
        name = (tmp_path / "labels" / suffix).with_suffix(".png")
        image = Image.fromarray(labels)
        if k == 1:  # numbers of a palette, as many tools write them
            image.putpalette([9, 9, 9] * 256)
        image.save(name)
    (tmp_path / "images" / ".hidden.jpg").write_bytes(b"")
    return tmp_path


def dataset(root, num_classes=3):
    return ImagesAndLabels(
        data_root=str(root),
        data_prefix=dict(img_path="images", seg_map_path="labels"),
        metainfo=dict(classes=tuple("abc"), palette=[(0, 0, 0)] * 3),
        pipeline=[
            dict(type="mmcv.LoadImageFromFile"),
            dict(type="robustnet_mm.LoadLabels", num_classes=num_classes),
        ],
    )


def test_every_image_comes_with_the_numbers_of_its_label_image(root):
    data = dataset(root)
    assert [data[k]["img_path"].rpartition("images/")[2] for k in range(len(data))] == [
        "b.jpg",
        "c.JPEG",
        "deep/a.png",
    ]
    assert [data[k]["gt_seg_map"][3, 3] for k in range(3)] == [0, 2, 1]
    assert data[0]["gt_seg_map"][0, 0] == 255 and data[0]["gt_seg_map"].dtype == np.uint8


def test_a_label_image_that_is_wrong_is_named(root):
    with pytest.raises(ValueError, match=r"c.png has the value 2, and classes are 0 to 1, 255"):
        dataset(root, num_classes=2)[1]
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(root / "labels/b.png")
    with pytest.raises(ValueError, match=r"b.png has 9 x 6 pixels and its image .*b.jpg 8 x 6"):
        dataset(root)[0]
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(root / "labels/b.png")
    with pytest.raises(ValueError, match="one channel of class numbers, got mode RGB"):
        dataset(root)[0]
    (root / "labels/b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="b.png cannot be read"):
        dataset(root)[0]
    (root / "labels/b.png").unlink()
    with pytest.raises(ValueError, match="1 of 3 images have no label image in .*: b.jpg"):
        dataset(root)
    with pytest.raises(ValueError, match="must hold images"):
        dataset(root / "labels" / "deep")


def test_classes_are_the_lines_of_a_file(tmp_path):
    file = tmp_path / "classes.txt"
    with pytest.raises(FileNotFoundError, match="one name a line"):
        listed_classes(file)
    file.write_text("sky\n road \ncar\n\n")
    assert listed_classes(file) == ("sky", "road", "car")
    for text, found in (("a\n\nb", "an empty line"), ("a\nb\na", "twice a"), ("", "none")):
        file.write_text(text)
        with pytest.raises(ValueError, match=f"one a line, got {found}"):
            listed_classes(file)


def test_there_are_255_classes_at_most():
    with pytest.raises(ValueError, match=r"num_classes must be in 1..255, got 300"):
        LoadLabels(num_classes=300)
