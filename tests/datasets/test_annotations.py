import io

import numpy as np
import pytest
from PIL import Image

from robustnet_mm.datasets import annotations
from robustnet_mm.datasets.annotations import check_sizes


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that are decoded."""
    names, real = [], annotations.decoded_size
    monkeypatch.setattr(
        annotations, "decoded_size", lambda path, load: names.append(path.name) or real(path, load)
    )
    return names


def photographs(folder, kind, number=6, mark=6, size=(60, 40)):
    """Images on their side and the annotation's entries of them, as they are seen."""
    exif, out = Image.Exif(), io.BytesIO()
    exif[274] = mark
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(out, kind, exif=exif)
    entries = []
    for k in range(number):
        name = f"{kind}{mark}{size[0]}-{k}"
        (folder / name).write_bytes(out.getvalue())
        entries.append(dict(file_name=name, width=size[1], height=size[0]))
    return entries


def lying(entries):
    return [entry | dict(width=entry["height"], height=entry["width"]) for entry in entries]


def check(entries, folder, **load):
    check_sizes(entries, folder, load, "train")


def test_a_few_images_on_their_side_are_decoded_and_the_rest_read_alike(tmp_path, decoded):
    turned = photographs(tmp_path, "JPEG")
    check(turned, tmp_path)
    assert len(decoded) == 3
    check(lying(turned), tmp_path, color_type="color_ignore_orientation")
    check(turned, tmp_path, imdecode_backend="pillow")
    check(photographs(tmp_path, "JPEG", size=(50, 50)), tmp_path)
    assert len(decoded) == 9  # none of the square ones
    for mark in (5, 8):
        check(photographs(tmp_path, "JPEG", mark=mark), tmp_path)
    assert len(decoded) == 15


def test_formats_are_learnt_apart_because_decoders_turn_some_and_not_others(tmp_path, decoded):
    lie = lying(photographs(tmp_path, "WEBP"))  # OpenCV does not turn these
    stand = [*photographs(tmp_path, "JPEG"), *photographs(tmp_path, "PNG")]
    check([*lie, *stand, *photographs(tmp_path, "TIFF")], tmp_path)
    assert len(decoded) == 12


def test_an_image_that_differs_is_decoded_before_it_is_called_wrong(tmp_path, decoded):
    good = photographs(tmp_path, "JPEG", 20)
    with pytest.raises(ValueError, match=r"1 of 20 images .* first 'JPEG660-19'"):
        check([*good[:-1], *lying(good[-1:])], tmp_path)
    assert decoded == [entry["file_name"] for entry in (*good[:3], good[-1])]
    decoded.clear()
    with pytest.raises(ValueError, match="17 of 20 images .*turned by its EXIF mark"):
        check([*good[:3], *lying(good[3:])], tmp_path)
    assert len(decoded) == 6  # no more than it takes


def test_what_cannot_be_read_is_left_to_the_loader(tmp_path):
    entries = photographs(tmp_path, "JPEG", 2)
    (tmp_path / entries[0]["file_name"]).write_bytes(b"no image")
    whole = (tmp_path / entries[1]["file_name"]).read_bytes()
    (tmp_path / entries[1]["file_name"]).write_bytes(whole[:400])  # a header and no more
    check(lying(entries), tmp_path, imdecode_backend="pillow")
