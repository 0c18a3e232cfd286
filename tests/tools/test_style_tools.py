"""The analysis tools of style transfer as they are called, on noise and random networks."""

import json
import re
import runpy
import shutil
import sys

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.registry import MODELS

from robustnet_mm.engine.launch import read_config

TOOLS = ROOT / "tools/analysis_tools"
CONFIG = """
default_scope = 'mmengine'
vgg = dict(type='robustnet_mm.VGGFeatures', arch='vgg16', checkpoint='random')
loss = dict(type='robustnet_mm.PerceptualLoss', network=vgg, content_layers=['relu2_1'],
            style_layers=['relu1_1', 'relu2_1'])
model = dict(type='robustnet_mm.RobustStyleTransfer', width=32, loss=loss,
             backbone=dict(type='robustnet_mm.RobustNet', arch='nano'))
test_dataloader = dict(dataset=dict(type='robustnet_mm.ContentStyleDataset', content='photos',
                                    style='paintings', pairs='product', size=32))
test_evaluator = dict(type='robustnet_mm.StyleMetric', name='vgg', loss=loss)
"""


@pytest.fixture
def start(monkeypatch, tmp_path, capsys):
    (tmp_path / "config.py").write_text(CONFIG)
    for name, number in dict(photos=2, paintings=3).items():
        (tmp_path / name).mkdir()
        for k in range(number):
            noise = np.random.default_rng(k + 5 * number).integers(0, 256, (40, 56, 3), np.uint8)
            soft = cv2.GaussianBlur(noise, (9, 9), 0) // number  # paintings are darker
            cv2.imwrite(str(tmp_path / name / f"{k}.jpg"), soft)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(TOOLS))

    def run(tool, *args):
        monkeypatch.setattr(sys, "argv", [tool, *args])
        runpy.run_path(str(TOOLS / tool), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_methods_are_judged_on_the_pixels_that_were_written(start, tmp_path):
    start("compare_styles.py", "config.py", "--write-inputs", "inputs")
    contents = sorted((tmp_path / "inputs/content").iterdir())
    assert [path.name for path in contents] == ["0.png", "1.png"]
    assert cv2.imread(str(contents[0])).shape == (32, 45, 3)
    (tmp_path / "copies").mkdir()
    for content in contents:
        for k in range(3):
            shutil.copy(content, tmp_path / f"copies/{content.stem}_stylized_{k}.png")
    options = ("--gatys", "5", "--pairs", "4", "--out-dir", "out", "--painted", "mine=copies")
    said = start("compare_styles.py", "config.py", *options)
    found = json.loads((tmp_path / "out/results.json").read_text())["results"]
    assert list(found) == ["content itself", "style itself", "mine", "optimised"]
    assert found["mine"] == found["content itself"] and found["mine"]["vgg/content"] == 0
    assert found["style itself"]["vgg/style"] < 0.5 * found["mine"]["vgg/style"]
    assert found["optimised"]["vgg/ahead"] == 1 and "| optimised |" in said
    assert cv2.imread(str(tmp_path / "out/sheet.png")).shape == (4 * 164 - 4, 4 * 164 - 4, 3)
    shutil.copy(tmp_path / "photos/0.jpg", tmp_path / "copies/0_stylized_0.png")
    with pytest.raises(ValueError, match=r"0_stylized_0.png must be a picture of \(32, 45\)"):
        start("compare_styles.py", "config.py", "--painted", "mine=copies")
    (tmp_path / "copies/0_stylized_0.png").unlink()
    with pytest.raises(ValueError, match="copies/0_stylized_0.png is not there"):
        start("compare_styles.py", "config.py", "--painted", "mine=copies")
    shutil.copy(tmp_path / "photos/0.jpg", tmp_path / "photos/0.png")
    with pytest.raises(ValueError, match="each content must have a name of its own, got 0 twice"):
        start("compare_styles.py", "config.py", "--write-inputs", "inputs")
    (tmp_path / "photos/0.png").unlink()
    with pytest.raises(ValueError, match="NAME=FOLDER, got mine=nowhere"):
        start("compare_styles.py", "config.py", "--painted", "mine=nowhere")


def test_the_cost_of_painting_and_of_the_parts_of_a_step(start):
    rounds = ("--rounds", "2")
    said = start("benchmark_style.py", "time", "config.py", "--size", "48", "--gatys", "1", *rounds)
    assert "| config |" in said and "| config, the style known |" in said
    assert "| 1 steps of Gatys |" in said
    said = start("benchmark_style.py", "training", "config.py", "--crop", "32", *rounds)
    parts = ["training step", "backbone", "transfer", "decoder", "loss network"]
    assert all(f"| {part} |" in said for part in parts)


@pytest.mark.extended
def test_memory_is_measured_whole_and_in_tiles(start):
    said = start("benchmark_style.py", "memory", "config.py", "--sizes", "256", "--tile", "192")
    assert "| 256 | none |" in said and "| 256 | 192 |" in said


def test_a_change_is_found_where_two_tiles_share_columns():
    changes = runpy.run_path(str(TOOLS / "show_seams.py"))["changes"]
    difference = np.zeros((4, 30, 3))
    difference[:, 12:] = 40.0  # as if the second tile were brighter
    between, elsewhere = changes(difference, [slice(0, 14), slice(10, 30)])
    assert sum(between) == 40 and sum(elsewhere) == 0 and len(between) == 5
    between, elsewhere = changes(difference, [slice(0, 12), slice(12, 30)])  # they touch
    assert between == [40] and sum(elsewhere) == 0
    between, elsewhere = changes(difference, [slice(0, 25), slice(20, 30)])
    assert sum(between) == 0 and sum(elsewhere) == 40


def test_seams_are_found_where_tiles_do_not_fade_into_each_other(start, tmp_path):
    torch.manual_seed(1)
    model = MODELS.build(read_config("config.py").model)
    torch.save(model.state_dict(), "random.pth")
    photo = np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)
    cv2.imwrite("large.png", cv2.GaussianBlur(photo, (9, 9), 0))
    files = ("config.py", "random.pth", "large.png", "paintings/0.jpg")
    found = {}
    for tile, overlap in ((96, 0), (128, 24)):
        said = start("show_seams.py", *files, "--tile", str(tile), "--overlap", str(overlap))
        assert "192 x 192 pixels in 4 tiles" in said
        found[overlap] = [float(n) for n in re.findall(r"[0-9.]+(?= where| elsewhere)", said)]
    assert found[0][0] > 3 * found[0][1]  # cut hard, the tiles' borders are seen
    assert found[24][0] < 0.5 * found[0][0]
    assert cv2.imread(str(tmp_path / "seams.png")).shape == (192, 576, 3)
    with pytest.raises(SystemExit, match="is one tile of 256: give a smaller --tile"):
        start("show_seams.py", *files)
