import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from robustnet_mm.datasets import headers
from robustnet_mm.datasets.headers import Header, cache_file, read_header, read_headers


def picture(kind="JPEG", mark=1, size=(6, 4)) -> bytes:
    exif, out = Image.Exif(), io.BytesIO()
    exif[274] = mark
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(out, kind, exif=exif)
    return out.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, for sets of more than two images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "LARGE", 2)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(picture(mark=6))
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Names of the files whose headers are read."""
    names, real = [], headers.read_header
    monkeypatch.setattr(
        headers, "read_header", lambda path: names.append(os.path.basename(path)) or real(path)
    )
    return names


def test_size_mark_and_format_are_read(tmp_path):
    for kind in ("JPEG", "PNG", "WEBP"):
        (tmp_path / kind).write_bytes(picture(kind, 6))
        assert read_header(tmp_path / kind) == Header(6, 4, 6, kind)
    (tmp_path / "strange").write_bytes(picture(mark=77))
    assert read_header(tmp_path / "strange") == Header(6, 4, 1, "JPEG")
    (tmp_path / "none").write_bytes(b"no image")
    assert read_header(tmp_path / "none") is None and read_header(tmp_path / "absent") is None


def test_the_mark_behind_a_pngs_pixels_is_found_without_decoding_them(tmp_path, monkeypatch):
    content = picture("PNG", 6)
    at = content.index(b"eXIf") - 4
    chunk = content[at : at + 12 + int.from_bytes(content[at : at + 4], "big")]
    late = content.replace(chunk, b"").replace(content[-12:], chunk + content[-12:])
    (tmp_path / "late.png").write_bytes(late)
    (tmp_path / "plain.png").write_bytes(content.replace(chunk, b""))
    (tmp_path / "damaged.png").write_bytes(late.replace(chunk, chunk[:-1] + b"?"))
    monkeypatch.setattr(Image.Image, "load", None)
    marks = [read_header(str(tmp_path / f"{n}.png")).mark for n in ("late", "plain", "damaged")]
    assert marks == [6, 1, 1]


def test_a_small_set_leaves_no_cache(folder, cache):
    assert read_headers(folder, ["a", "none"]) == [Header(6, 4, 6, "JPEG"), None]
    assert not cache.exists()


def test_a_large_set_is_read_once_and_what_changed_again(folder, opened, logged):
    names = ["a", "b", "c", "absent"]
    first = read_headers(folder, names)
    assert first == [Header(6, 4, 6, "JPEG")] * 3 + [None] and sorted(opened) == ["a", "b", "c"]
    assert logged == ["reading the headers of 3 images, once; later runs use the cache"]
    opened.clear()
    assert read_headers(folder, names) == first and opened == [] and len(logged) == 1
    (folder / "b").write_bytes(picture(size=(9, 4)))
    os.utime(folder / "c", ns=(1, 1))
    (folder / "a").write_bytes(b"no image")
    assert read_headers(folder, names) == [None, Header(9, 4, 1, "JPEG"), first[2], None]
    assert sorted(opened) == ["a", "b", "c"]


def test_each_folder_has_a_file_that_keeps_the_names_of_other_annotations(folder, tmp_path, cache):
    read_headers(folder, ["a", "b", "c"])
    for name in "def":
        (folder / name).write_bytes(picture())
    read_headers(folder, ["d", "e", "f"])
    assert sorted(json.loads(cache_file(folder).read_text())) == list("abcdef")
    assert cache_file(folder).parent == cache / "robustnet_mm/headers"
    assert cache_file(folder) != cache_file(tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", '{"a": [1]', '{"a": 1}', '{"a": [1, 2, 3]}'])
def test_a_damaged_cache_is_read_anew_and_written_again(folder, content, logged, opened):
    read_headers(folder, ["a", "b", "c"])
    good = cache_file(folder).read_text()
    cache_file(folder).write_text(content)
    opened.clear()
    assert read_headers(folder, ["a", "b", "c"]) == [Header(6, 4, 6, "JPEG")] * 3
    assert sorted(opened) == ["a", "b", "c"] and "are damaged" in logged[1]
    assert cache_file(folder).read_text() == good


def test_a_cache_that_cannot_be_written_is_a_line_of_the_log(folder, cache, logged):
    cache.write_text("a file where the folder should be")
    assert read_headers(folder, ["a", "b", "c"]) == [Header(6, 4, 6, "JPEG")] * 3
    assert "cannot be kept in" in logged[1] and "the next run reads them anew" in logged[1]


def test_the_cache_is_written_whole_or_not_at_all(folder, monkeypatch, logged):
    read_headers(folder, ["a", "b", "c"])
    good = cache_file(folder).read_text()

    def full(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(headers.os, "replace", full)
    (folder / "b").write_bytes(picture(size=(9, 4)))
    read_headers(folder, ["a", "b", "c"])
    assert cache_file(folder).read_text() == good and "no space left" in logged[-1]
    assert os.listdir(cache_file(folder).parent) == [cache_file(folder).name]
