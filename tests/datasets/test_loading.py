import cv2
import mmcv
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset

from robustnet_mm.datasets import loading
from robustnet_mm.datasets.loading import LoadImage, seems_cut
from robustnet_mm.registry import TRANSFORMS

IMAGE = cv2.GaussianBlur(
    np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8), (5, 5), 0
)
FORMATS = (".jpg", ".png")


def encoded(extension):
    return cv2.imencode(extension, IMAGE)[1].tobytes()


def write(path, content):
    path.write_bytes(content)
    return {"img_path": str(path)}


def half(content):
    return content[: len(content) // 2]


def grey_filled(content, *args, **kwargs):
    """What some versions of OpenCV return for a truncated file."""
    return np.full_like(IMAGE, 128)


@pytest.mark.parametrize("extension", [*FORMATS, ".bmp", ".webp", ".tif"])
def test_a_good_file_gives_what_mmcv_gives(tmp_path, extension):
    results = write(tmp_path / f"a{extension}", encoded(extension))
    ours, theirs = LoadImage()(dict(results)), LoadImageFromFile()(dict(results))
    assert ours.keys() == theirs.keys()
    assert (ours["img"] == theirs["img"]).all()
    assert ours["img_shape"] == ours["ori_shape"] == theirs["ori_shape"] == (40, 60)
    assert LoadImage(to_float32=True)(dict(results))["img"].dtype == np.float32
    assert LoadImage(color_type="grayscale")(dict(results))["img"].ndim == 2


@pytest.mark.parametrize("extension", FORMATS)
def test_a_truncated_file_is_an_error_even_if_the_decoder_fills_it_with_grey(
    tmp_path, extension, monkeypatch
):
    monkeypatch.setattr(mmcv, "imfrombytes", grey_filled)
    results = write(tmp_path / f"cut{extension}", half(encoded(extension)))
    with pytest.raises(ValueError, match=rf"cut{extension} is broken \(.*truncated.*restore"):
        LoadImage()(results)


@pytest.mark.parametrize(
    "content", [b"", b"no image at all", b"\xff\xd8\xff", half(encoded(".png"))]
)
def test_undecodable_content_is_an_error_that_names_file_and_next_step(tmp_path, content):
    results = write(tmp_path / "bad.jpg", content)
    with pytest.raises(ValueError, match=r"bad\.jpg is broken .*on_error='skip'"):
        LoadImage()(results)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jpg is not there: check data_root"):
        LoadImage()({"img_path": str(tmp_path / "none.jpg")})


def test_a_whole_jpeg_with_data_behind_it_is_accepted(tmp_path):
    content = encoded(".jpg") + b"a camera's own data" * 100
    assert seems_cut(content)
    assert LoadImage()(write(tmp_path / "camera.jpg", content))["img"].shape == IMAGE.shape


def test_good_files_are_not_decoded_a_second_time(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "why_broken", None)
    for extension in FORMATS:
        LoadImage()(write(tmp_path / f"a{extension}", encoded(extension)))
    assert not seems_cut(encoded(".jpg") + bytes(16))  # padding


def test_a_cut_jpeg_that_was_closed_with_an_end_marker_is_an_error(tmp_path):
    closed = half(encoded(".jpg")) + b"\xff\xd9"
    for name, content in (("a", closed), ("b", closed + b"a camera's own data" * 100)):
        results = write(tmp_path / f"{name}.jpg", content)
        with pytest.raises(ValueError, match=rf"{name}\.jpg is broken \(its data end before"):
            LoadImage()(results)


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
def test_a_cut_png_that_was_closed_with_an_end_chunk_is_an_error(tmp_path, backend):
    content = encoded(".png")
    results = write(tmp_path / "a.png", half(content) + content[-12:])
    with pytest.raises(ValueError, match=r"a\.png is broken"):
        LoadImage(imdecode_backend=backend)(results)


def test_skip_returns_none_and_counts_each_file_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(loading, "print_log", lambda text, **kwargs: said.append(text))
    load = LoadImage(on_error="skip")
    cut = write(tmp_path / "cut.jpg", half(encoded(".jpg")))
    gone = {"img_path": str(tmp_path / "gone.jpg")}
    assert load(dict(cut)) is None and load(dict(cut)) is None and load(gone) is None
    assert len(said) == 2
    assert "skipped 1 image(s)" in said[0] and "cut.jpg" in said[0]
    assert "skipped 2 image(s)" in said[1] and "gone.jpg" in said[1]


class TwoFiles(BaseDataset):
    """The first file is broken, the second is whole."""

    def load_data_list(self):
        return [{"img_path": path} for path in self.metainfo["paths"]]


def test_mmengine_draws_another_sample_for_a_skipped_one(tmp_path):
    bad = write(tmp_path / "bad.jpg", half(encoded(".jpg")))["img_path"]
    good = write(tmp_path / "good.jpg", encoded(".jpg"))["img_path"]
    load = TRANSFORMS.build({"type": "robustnet_mm.LoadImage", "on_error": "skip"})
    dataset = TwoFiles(metainfo={"paths": [bad, good]}, pipeline=[load])
    assert dataset[0]["img_path"] == good


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="one of raise, skip, got 'ignore'"):
        LoadImage(on_error="ignore")
    with pytest.raises(ValueError, match="use on_error='skip'"):
        LoadImage(ignore_empty=True)
    assert "on_error='skip'" in repr(LoadImage(on_error="skip"))
