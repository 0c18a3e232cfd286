"""tools/app.py in a headless Chromium: a visitor drops pictures, good and bad, and sees results."""

import argparse
import os
import re
import runpy
import subprocess
import sys
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import torch
from helpers import CLASSIFIER, ROOT, free_port, open_exchanges
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

pytest.importorskip("gradio")
TOOL = ROOT / "tools/app.py"
PICTURES = "img[src*='gradio_api/file']"
STYLE = dict(
    type="robustnet_mm.RobustStyleTransfer",
    backbone=dict(type="robustnet_mm.RobustNet", arch="nano"),
    width=64,
)


def picture(height, width, channels=3, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, channels), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@contextmanager
def served(*arguments):
    """The address of a page, until it is left."""
    port = str(free_port())
    command = [sys.executable, str(ROOT / "tools/app.py"), *map(str, arguments), "--port", port]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    try:
        lines = iter(process.stdout.readline, "")
        yield next(line.split()[0] for line in lines if line.startswith("http://127.0.0.1"))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def visit(browser, address, button="Look"):
    page = browser.new_page(viewport=dict(width=1300, height=900))
    page.goto(address)
    page.get_by_role("button", name=button, exact=True).wait_for(timeout=60000)
    return page


def wait_for_pictures(page, count):
    from playwright.sync_api import expect

    expect(page.locator(PICTURES)).to_have_count(count, timeout=60000)


def drop(page, path, field=0):
    page.locator("input[type=file]").nth(field).set_input_files(str(path))
    wait_for_pictures(page, field + 1)


def wait_for_text(page, pattern):
    from playwright.sync_api import expect

    box = page.locator("textarea").first
    expect(box).to_have_value(re.compile(pattern), timeout=60000)


def press(page, name):
    page.bring_to_front()  # what is behind another is not drawn
    page.get_by_role("button", name=name, exact=True).click()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("app") / "weights.pth"
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(Config.fromfile(ROOT / CLASSIFIER).model)
    open_exchanges(model.backbone)
    torch.save(dict(state_dict=model.state_dict()), file)
    return file


@pytest.fixture(scope="module")
def address(weights):
    with served(CLASSIFIER, weights) as found:
        yield found


def test_the_page_is_made_and_answers_without_a_browser(weights, tmp_path):
    app = runpy.run_path(str(TOOL))
    given = dict(config=str(ROOT / CLASSIFIER), checkpoint=str(weights), cfg_options=None)
    args = argparse.Namespace(**given)
    assert len(app["page_of"](args).fns) == 3  # a button, a slider, a click
    Image.fromarray(picture(40, 60, 4)).save(tmp_path / "alpha.png")
    Image.fromarray(picture(1200, 900)[..., 0]).save(tmp_path / "grey.png")
    looking = app["Looking"](args)
    seen, as_trained, *_, text = looking.look(str(tmp_path / "alpha.png"), 1.0)
    assert seen.shape == (200, 300, 3) and "open to 100 %" in text  # enlarged
    closed = looking.look(str(tmp_path / "alpha.png"), 0.0)[1]
    assert (as_trained != closed).any()
    assert looking._read(str(tmp_path / "grey.png")).pixels.shape[:2] == (1024, 768)
    attention, text = looking.attend(str(tmp_path / "alpha.png"), 1.0, (299, 199))
    assert attention.ndim == 3 and text == "the patch at 59, 39"
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    with pytest.raises(ValueError, match="broken.png is broken"):
        looking.look(str(tmp_path / "broken.png"), 1.0)


@pytest.mark.extended  # the browser takes the time
def test_a_visitor_drops_pictures_clicks_on_a_patch_and_moves_the_slider(
    address, browser, tmp_path
):
    page = visit(browser, address)
    press(page, "Look")
    page.get_by_text("there is no picture yet").first.wait_for()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(picture(2400, 3200)[..., 0]).save(tmp_path / "grey-turned.jpg", exif=exif)
    Image.fromarray(picture(40, 60, 4)).save(tmp_path / "alpha.png")
    for name in ("alpha.png", "grey-turned.jpg"):
        page.close()
        page = visit(browser, address)
        drop(page, tmp_path / name)
        press(page, "Look")
        wait_for_text(page, r"^\d+\.\d s, exchanges open to 100 %$")
        wait_for_pictures(page, 5)  # what was dropped, and four results
    seen = page.locator(PICTURES).nth(4)
    seen.scroll_into_view_if_needed()
    seen.click(position=dict(x=20, y=20))
    wait_for_text(page, "^the patch at")
    slider = page.locator("input[type=number]")
    slider.fill("0.5")
    slider.press("Enter")
    press(page, "Look")
    wait_for_text(page, "open to 50 %")
    page.close()


@pytest.mark.extended  # the browser takes the time
def test_what_is_no_picture_is_told_and_two_visitors_do_not_mix(address, browser, tmp_path):
    pages, names = [visit(browser, address) for _ in range(2)], ("first", "second")
    for page, name in zip(pages, names, strict=True):
        Image.fromarray(picture(40, 60, seed=len(name))).save(tmp_path / f"{name}.png")
        drop(page, tmp_path / f"{name}.png")
    for page in pages:
        press(page, "Look")
        wait_for_text(page, "open to 100 %")
        wait_for_pictures(page, 5)
    sources = [page.locator(PICTURES).nth(1).get_attribute("src") for page in pages]
    assert sources[0] != sources[1]
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    page = visit(browser, address)
    page.locator("input[type=file]").first.set_input_files(str(tmp_path / "broken.png"))
    page.wait_for_timeout(1500)
    press(page, "Look")
    page.locator(".toast-wrap, .toast-body").first.wait_for(timeout=30000)
    assert page.locator("textarea").first.input_value() == ""
    for each in (*pages, page):
        each.close()


@pytest.mark.extended  # the same page with another model
def test_a_content_is_painted_in_a_style(browser, tmp_path):
    (tmp_path / "config.py").write_text(f"default_scope = 'mmengine'\nmodel = {STYLE!r}\n")
    torch.save(dict(state_dict=MODELS.build(STYLE).state_dict()), tmp_path / "model.pth")
    for name, seed in (("content", 1), ("style", 2)):
        Image.fromarray(picture(64, 80, seed=seed)).save(tmp_path / f"{name}.png")
    with served(tmp_path / "config.py", tmp_path / "model.pth") as address:
        page = visit(browser, address, "Paint")
        for field, name in enumerate(("content", "style")):
            drop(page, tmp_path / f"{name}.png", field)
        press(page, "Paint")
        wait_for_text(page, r"^\d+\.\d s$")
        wait_for_pictures(page, 3)
        page.close()
