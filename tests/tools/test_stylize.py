"""tools/stylize.py as it is called, on a small model with random weights."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT, shown
from mmengine.registry import MODELS

MODEL = dict(
    type="robustnet_mm.RobustStyleTransfer",
    backbone=dict(type="robustnet_mm.RobustNet", arch="nano"),
    width=64,
)


def picture(seed, height=48, width=64):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (9, 9), 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stylize")
    (folder / "config.py").write_text(f"default_scope = 'mmengine'\nmodel = {MODEL!r}\n")
    torch.save(dict(state_dict=MODELS.build(MODEL).state_dict()), folder / "model.pth")
    for name in ("photos", "styles"):
        (folder / name).mkdir()
        for k in range(2):
            cv2.imwrite(str(folder / name / f"{name[0]}{k}.png"), picture(k))
    writer = cv2.VideoWriter(str(folder / "film.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, (64, 48))
    for k in range(3):
        writer.write(picture(k))
    writer.release()
    return folder


def more(*row):
    return pytest.param(*row, marks=pytest.mark.extended)


def run(folder, *args):
    command = [sys.executable, str(ROOT / "tools/stylize.py"), "config.py", "model.pth", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_every_photo_in_every_style_with_index_and_sheet_and_the_broken_one_counted(folder):
    (folder / "photos" / "cut.png").write_bytes(b"no picture")
    cv2.imwrite(str(folder / "photos" / "small.png"), picture(0)[:10])
    options = ("--style", "styles/*.png", "--out-dir", "o", "--max-size", "48")
    done = run(folder, "--content", "photos", "film.mp4", *options)
    for name in ("cut.png", "small.png"):
        (folder / "photos" / name).unlink()
    assert done.returncode == 1 and "skipped 2 file(s)" in done.stderr, done.stderr[-800:]
    assert "photos/small.png: a content must have 16 pixels" in done.stderr
    painted = {f"{c}_stylized_{s}.png" for c in ("p0", "p1") for s in ("s0", "s1")}
    films = {f"film_stylized_{s}.mp4" for s in ("s0", "s1")}
    assert {path.name for path in (folder / "o/painted").iterdir()} == painted | films
    page = (folder / "o/index.html").read_text()
    assert all(f"painted/{name}" in page for name in painted)
    assert cv2.imread(str(folder / "o/painted/p0_stylized_s1.png")).shape == (36, 48, 3)
    assert cv2.imread(str(folder / "o/sheet.png")).shape == (3 * 164 - 4, 3 * 164 - 4, 3)
    film = cv2.VideoCapture(str(folder / "o/painted/film_stylized_s0.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert film.read()[1].shape == (36, 48, 3)


@pytest.mark.extended  # the browser takes the time
@pytest.mark.parametrize("width", [1300, 360])
def test_the_page_shows_what_was_painted_in_a_browser(folder, browser, width):
    options = ("--style", "styles/s0.png", "--out-dir", f"seen {width}")
    assert run(folder, "--content", "photos", *options).returncode == 0
    names = shown(browser, folder / f"seen {width}/index.html", width)
    assert {"p0_stylized_s0.png", "p1_stylized_s0.png"} <= set(names)


def test_equal_names_do_not_overwrite_each_other_and_a_mask_holds_for_videos(folder):
    (folder / "other").mkdir()
    cv2.imwrite(str(folder / "other" / "p0.png"), picture(9))
    cv2.imwrite(str(folder / "black.png"), np.zeros((48, 64), np.uint8))
    options = ("--style", "styles/s0.png", "--out-dir", "m", "--mask", "black.png")
    done = run(folder, "--content", "photos/p0.png", "other", "film.mp4", *options)
    assert done.returncode == 0, done.stderr[-800:]
    for name, seed in (("p0_stylized_s0", 0), ("p0_stylized_s0-2", 9)):
        assert (cv2.imread(str(folder / "m/painted" / f"{name}.png")) == picture(seed)).all()
    paths = ("m/painted/film_stylized_s0.mp4", "film.mp4")
    first, expected = (cv2.VideoCapture(str(folder / path)).read()[1] for path in paths)
    assert np.abs(first.astype(float) - expected).mean() < 8  # coded once more
    assert not list((folder / "m/painted").glob(".*"))


@pytest.mark.parametrize(
    "args, said",
    [
        (("--content", "config.mp4", "--style", "styles"), "can be read for 0 of 0 frames"),
        more(("--content", "nowhere", "--style", "styles"), "--content nowhere names no file"),
        more(("--content", "photos/p0.png", "--style", "styles", "--one-to-one"), "1 contents and"),
        more(("--content", "photos", "--style", "styles", "--mix", "1"), "a share for each of 2"),
        more(
            ("--content", "photos", "--style", "styles", "--alpha", "2"), "--alpha must be in 0..1"
        ),
    ],
)
def test_what_is_wrong_is_named_in_the_last_line(folder, args, said):
    (folder / "config.mp4").write_text("no video")
    done = run(folder, *args, "--out-dir", "wrong")
    assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr[-800:]
