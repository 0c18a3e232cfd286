"""tools/analysis_tools/probe.py on colours, which any network tells apart."""

import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT

from robustnet_mm.models import RobustNet

TOOL = ROOT / "tools/analysis_tools/probe.py"
CONFIG = """
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
model = dict(type='ImageClassifier', backbone=dict(type='robustnet_mm.RobustNet', arch='nano'))
"""


@pytest.fixture
def start(monkeypatch, tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "config.py").write_text(CONFIG)
    for part in ("train", "test"):
        for name, colour in dict(blue=(200, 20, 20), green=(20, 200, 20)).items():
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(4):
                noise = (rng.integers(0, 50, (48, 64, 3)) + colour).astype(np.uint8)
                cv2.imwrite(str(tmp_path / part / name / f"{k}.png"), noise)
    monkeypatch.chdir(tmp_path)

    def run(*args):
        command = ["probe.py", "config.py", *args, "--size", "32", "--k", "3"]
        monkeypatch.setattr(sys, "argv", command)
        runpy.run_path(str(TOOL), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_each_tower_and_both_are_judged_with_the_weights_that_are_named(start, tmp_path):
    folders = ("--train", "train", "--test", "test")
    said = start(*folders)
    for row in ("| cnn | 256 |", "| vit | 96 |", "| both | 352 |"):
        assert f"{row} 100.00 % | 100.00 % |" in said
    blind = RobustNet("nano")
    for parameter in blind.parameters():
        torch.nn.init.zeros_(parameter)
    weights = {f"backbone.{name}": value for name, value in blind.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / "blind.pth")
    assert "| both | 352 | 50.00 % | 50.00 % |" in start("blind.pth", *folders)


def test_folders_must_be_there_and_hold_the_same_classes(start, tmp_path):
    with pytest.raises(ValueError, match="must be folders, got nowhere"):
        start("--train", "nowhere", "--test", "test")
    (tmp_path / "test/green").rename(tmp_path / "test/red")
    with pytest.raises(ValueError, match=r"same classes, got \['blue', 'green'\] and"):
        start("--train", "train", "--test", "test")
