from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from robustnet_mm.registry import DATASETS
from robustnet_mm.style_transfer import DrawSampler, datasets

FIRST = datasets.DRAWS  # the first draw of seed 0


def picture(seed, height=40, width=60):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 0)


@pytest.fixture
def folders(tmp_path):
    for name, number in (("contents", 3), ("styles", 4)):
        (tmp_path / name / "deep").mkdir(parents=True)
        for k in range(number):
            place = tmp_path / name / ("deep" if k == 1 else "") / f"{k}.png"
            cv2.imwrite(str(place), picture(k + 10 * number))
    (tmp_path / "contents" / ".trash").mkdir()
    cv2.imwrite(str(tmp_path / "contents/.trash/old.png"), picture(0))
    (tmp_path / "contents" / "notes.txt").write_text("no picture")
    return dict(content=str(tmp_path / "contents"), style=str(tmp_path / "styles"))


def dataset(folders, **kwargs):
    return DATASETS.build(dict(type="robustnet_mm.ContentStyleDataset", **folders | kwargs))


def names(item):
    sample = item["data_samples"]
    return tuple(path.rsplit("/", 1)[1] for path in (sample.content_path, sample.style_path))


def test_a_product_has_every_pair_in_order(folders):
    data = dataset(folders, pairs="product")
    found = [names(data[k]) for k in range(len(data))]
    # what lies in a folder below is sorted by its path, after the pictures beside it
    assert found == [(f"{c}.png", f"{s}.png") for c in (0, 2, 1) for s in (0, 2, 3, 1)]


def test_recolored_paintings_keep_their_shapes_and_are_a_function_of_the_draw(folders):
    plain, other = (dataset(folders, size=32, crop=24, recolor=each) for each in (False, True))
    found = []
    for index in islice(DrawSampler(plain, seed=0), 12):
        one, two, again = (data[index]["inputs"] for data in (plain, other, other))
        assert torch.equal(two["content"], one["content"])
        assert torch.equal(two["style"], again["style"]) and two["style"].dtype == torch.uint8
        pair = np.stack([each["style"].float().mean(0).flatten() for each in (one, two)])
        found.append(np.corrcoef(pair)[0, 1])
    assert np.abs(found).min() > 0.7  # edges stay where they are
    assert min(found) < 0 < max(found)  # and some are negatives


def test_a_protocol_takes_the_first_so_many(folders):
    data = dataset(folders, pairs="product", limit=(2, 3))
    assert [names(data[k]) for k in range(len(data))] == [
        (f"{c}.png", f"{s}.png") for c in (0, 2) for s in (0, 2, 3)
    ]


def test_a_draw_is_a_function_of_seed_and_number(folders):
    data = dataset(folders, size=32, crop=24)
    one, again, other = (
        [data[k] for k in islice(DrawSampler(data, seed=seed), 36)] for seed in (0, 0, 1)
    )
    found = [names(item) for item in one]
    assert found == [names(item) for item in again] != [names(item) for item in other]
    for item, same in zip(one, again, strict=True):
        assert torch.equal(item["inputs"]["content"], same["inputs"]["content"])
    turns = [{content for content, _ in found[k : k + 3]} for k in range(0, 36, 3)]
    assert turns == [{"0.png", "1.png", "2.png"}] * 12  # every content once before one comes again
    assert {style for _, style in found} == {f"{k}.png" for k in range(4)}


def test_processes_and_resumed_trainings_share_one_row_of_draws(folders, monkeypatch):
    data = dataset(folders)
    row = list(islice(DrawSampler(data, seed=3), 8))
    for rank in (0, 1):
        monkeypatch.setattr(datasets, "get_dist_info", lambda rank=rank: (rank, 2))
        half = DrawSampler(data, seed=3)
        assert list(islice(half, 4)) == row[rank::2]
        half.skip(2)
        assert list(islice(half, 2)) == row[rank::2][2:]


def test_pictures_are_scaled_by_their_shorter_side_and_cut(folders):
    whole = dataset(folders, pairs="product", size=20)[0]["inputs"]["content"]
    assert whole.shape == (3, 20, 30) and whole.dtype == torch.uint8
    cut = dataset(folders, pairs="product", size=20, crop=16)[0]["inputs"]["content"]
    assert torch.equal(cut, whole[:, 2:18, 7:23])  # the middle
    drawn = dataset(folders, size=20, crop=16)
    assert drawn[FIRST]["inputs"]["style"].shape == (3, 16, 16)
    assert dataset(folders)[FIRST]["inputs"]["content"].shape == (3, 40, 60)
    with pytest.raises(ValueError, match="DrawSampler.*got index 2 of another one"):
        drawn[2]


def test_grey_alpha_cmyk_and_turned_files_are_pictures(tmp_path, folders):
    image = Image.fromarray(picture(7)[..., ::-1])
    image.convert("L").save(tmp_path / "grey.png")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "turned.jpg", quality=95, exif=turned)
    files = [str(tmp_path / name) for name in ("grey.png", "alpha.png", "cmyk.jpg", "turned.jpg")]
    data = dataset(folders, content=files, pairs="product")
    shapes = [data[4 * k]["inputs"]["content"].shape for k in range(4)]
    assert shapes == [(3, 40, 60)] * 3 + [(3, 60, 40)]
    assert torch.equal(
        data[4]["inputs"]["content"], torch.from_numpy(picture(7).transpose(2, 0, 1))
    )


def test_a_strip_is_named_before_it_is_scaled(tmp_path, folders):
    cv2.imwrite(str(tmp_path / "strip.png"), np.zeros((2, 100, 3), np.uint8))
    data = dataset(folders, content=[str(tmp_path / "strip.png")], pairs="product", size=32)
    with pytest.raises(ValueError, match=r"strip\.png is a strip of 100 x 2 pixels"):
        data[0]


def test_a_broken_file_is_named_or_another_pair_is_drawn(tmp_path, folders):
    broken = tmp_path / "contents" / "0.png"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(
        ValueError, match=r"0\.png is broken.*ContentStyleDataset\(on_error='skip'\)"
    ):
        dataset(folders, pairs="product")[0]
    skipping = dataset(folders, on_error="skip")
    assert all(names(skipping[FIRST + k])[0] != "0.png" for k in range(3))
    assert skipping.load.skipped == {str(broken)}
    alone = dataset(folders, content=[str(broken)], on_error="skip")
    with pytest.raises(ValueError, match="ten pictures in a row are broken"):
        alone[FIRST]


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(content="nowhere"), "content must be a folder of pictures or a list"),
        (dict(style=[]), "style has no pictures"),
        (dict(pairs="all"), "pairs must be one of random, product, aligned"),
        (dict(pairs="aligned"), "as many contents as styles, got 3 and 4"),
        (dict(crop=16), "crop=16 needs size"),
        (dict(size=16, crop=32), r"crop must be in 8\.\.16"),
        (dict(pairs="product", on_error="skip"), "would change the pairs"),
        (dict(pairs="product", limit=(2, 9)), "styles up to 4, which are there"),
        (dict(pairs="product", limit=[2]), "limit must be two numbers"),
        (dict(pairs="product", recolor=True), "recolor=True is for training"),
    ],
)
def test_settings_that_do_not_fit_are_named(folders, change, said):
    with pytest.raises(ValueError, match=said):
        dataset(folders, **change)
