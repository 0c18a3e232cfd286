import re

import cv2
import numpy as np
import pytest
from helpers import shown

from robustnet_mm.look.index import THUMBNAIL, Album


def pixels():
    return np.random.default_rng(0).integers(0, 255, (300, 600, 3), np.uint8)


def test_pictures_have_thumbnails_and_one_page_links_them_all(tmp_path):
    out, image = tmp_path / "a b", pixels()
    for kind, names in (("saliency", ["dog & cat", "dog & cat"]), ("cam", ["x"])):
        album = Album(str(out), kind)
        for name in names:
            album.add(name, image, dict(values=np.arange(3)))
        album.close()
    np.testing.assert_array_equal(cv2.imread(str(out / "cam/x_0.png"))[..., ::-1], image)
    assert cv2.imread(str(out / "thumbnails/cam/x_0.png")).shape == (120, THUMBNAIL, 3)
    assert np.load(out / "cam/x.npz")["values"].tolist() == [0, 1, 2]
    page = (out / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) == 6 and all((out / link).is_file() for link in links)
    assert "http" not in page and "<script" not in page
    assert {"saliency/dog_cat_0.png", "saliency/dog_cat-2_0.png"} < set(links)
    assert not list(out.rglob("*.part"))


@pytest.mark.extended  # the browser takes the time
@pytest.mark.parametrize("width", [1300, 360])
def test_a_browser_shows_what_the_page_links_wide_and_narrow(browser, tmp_path, width):
    for kind, name in (("saliency", "dog & cat #1"), ("cam", "a_name_" * 20)):
        album = Album(str(tmp_path / "a b?"), kind)
        album.add(name, pixels())
        album.close()
    names = shown(browser, tmp_path / "a b?/index.html", width)
    assert names == ["a_name_" * 20 + "_0.png", "dog_cat_1_0.png"]


def test_events_for_tensorboard_are_written_on_request(tmp_path):
    album = Album(str(tmp_path), "cam", tensorboard=True)
    album.add("x", pixels())
    album.close()
    assert list(tmp_path.glob("tensorboard/events.out.tfevents*"))
    plain = Album(str(tmp_path / "plain"), "cam")
    plain.add("x", pixels())
    assert not (tmp_path / "plain/tensorboard").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="out_dir must be a folder that can be written, got "):
        Album(str(tmp_path / "file/out"), "cam")
