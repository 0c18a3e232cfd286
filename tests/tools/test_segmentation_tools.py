"""tools/analysis_tools/significance.py as users call it."""

import json
import runpy
import sys

import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.datasets import make_digit_scenes

pytest.importorskip("mmseg")
CONFIG = str(ROOT / "configs/digit_scenes/segformer_robustnet-nano_digit-scenes.py")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return make_digit_scenes(
        tmp_path_factory.mktemp("digits") / "data", scenes=(2, 3), crops=(1, 1)
    )


@pytest.fixture
def start(monkeypatch, digits, tmp_path, capsys):
    monkeypatch.setenv("DATA_ROOT", str(digits))
    monkeypatch.setenv("IMAGE_SIZE", "96")
    monkeypatch.chdir(tmp_path)

    def run(tool, *args):
        path = str(ROOT / f"tools/analysis_tools/{tool}.py")
        monkeypatch.setattr(sys, "argv", [path, *args])
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    return run


def test_the_numbers_of_a_checkpoint_stand_beside_their_floors(start, tmp_path):
    said = start("significance", CONFIG, "--random", "--out", "random.json")
    found = json.loads((tmp_path / "random.json").read_text())
    assert found["significance/foreground"] == pytest.approx(1, abs=0.3)
    value, half = (found[f"significance/foreground{end}"] for end in ("", "_interval"))
    assert f"| foreground | {value:.3f} ± {half:.3f} | 1.000 | 1.000 |" in said and half > 0
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(Config.fromfile(CONFIG).model)
    for block in model.backbone.vit.blocks:
        torch.nn.init.normal_(block.attn.qkv.weight)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "trained.pth")
    start("significance", CONFIG, "trained.pth", "--foreground", "1", "2", "--out", "some.json")
    other = json.loads((tmp_path / "some.json").read_text())
    name = "significance/concentration"
    assert other[name] > 2 * found[name]
    with pytest.raises(ValueError, match="random weights take no checkpoint, got trained.pth"):
        start("significance", CONFIG, "trained.pth", "--random")
