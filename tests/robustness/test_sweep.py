"""A sweep over a small classifier, and where a detector's images are corrupted."""

import json
import runpy
import sys

import cv2
import pytest
import torch
from helpers import CLASSIFIER, DETECTOR, ROOT, open_exchanges
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.datasets import make_digit_scenes
from robustnet_mm.robustness import Corrupt, Measurement, Sweep, read_found
from robustnet_mm.robustness.bench import Cell, add_corruption

pytest.importorskip("imagecorruptions")
TOOL = str(ROOT / "tools/analysis_tools/robustness.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(data, checkpoint) of ten crops and a network that was not trained."""
    folder = tmp_path_factory.mktemp("robustness")
    data = make_digit_scenes(folder / "data", scenes=(1, 1), crops=(1, 10))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(Config.fromfile(ROOT / CLASSIFIER).model)
    open_exchanges(model.backbone)
    torch.save(dict(state_dict=model.state_dict()), folder / "weights.pth")
    return data, folder / "weights.pth"


@pytest.fixture
def measurement(made):
    options = {"test_dataloader.dataset.data_root": str(made[0]), "test_dataloader.num_workers": 0,
               "test_dataloader.persistent_workers": False}  # fmt: skip
    return Measurement(str(ROOT / CLASSIFIER), str(made[1]), cfg_options=options)


def test_a_killed_sweep_goes_on_and_another_model_is_refused(measurement, tmp_path, made):
    asked = dict(corruptions=["contrast", "pixelate"], severities=[5])
    said = []
    found = Sweep(measurement, tmp_path, **asked).run(say=said.append)
    assert [line.partition(":")[0] for line in said] == [
        "[1/3] clean",
        "[2/3] contrast-5",
        "[3/3] pixelate-5",
    ]
    assert set(found.right) == {"top1", "top1_cnn", "top1_vit"}
    word = found.right["top1"]["contrast"][5]
    assert len(word) == 10 and set(word) <= set("01")
    assert found.corrupted["contrast"][5]["accuracy/top1"] == pytest.approx(10 * word.count("1"))

    (tmp_path / "cells/contrast-5.json").unlink()
    said.clear()
    assert Sweep(measurement, tmp_path, **asked).run(say=said.append) == found
    assert said[0].startswith("2 of 3 cells") and len(said) == 2
    assert read_found(tmp_path) == found

    other = torch.load(made[1], weights_only=True)
    other["state_dict"]["head.cnn.fc.bias"] += 1
    torch.save(other, tmp_path / "other.pth")
    changed = Measurement(
        measurement.config, str(tmp_path / "other.pth"), cfg_options=measurement.cfg_options
    )
    with pytest.raises(ValueError, match="holds a sweep of another config, checkpoint or seed"):
        Sweep(changed, tmp_path).run()
    fewer = dict(measurement.cfg_options, **{"test_dataloader.batch_size": 1})
    assert Measurement(measurement.config, measurement.checkpoint, cfg_options=fewer).digest() == (
        measurement.digest()
    )


@pytest.mark.extended  # the same cells, each process with a start of its own
def test_processes_give_what_one_gives(measurement, tmp_path):
    asked = dict(corruptions=["impulse_noise", "fog"], severities=[1, 5])
    one = Sweep(measurement, tmp_path / "one", **asked).run()
    assert Sweep(measurement, tmp_path / "two", **asked).run(processes=2) == one


def test_the_tool_writes_tables_and_a_picture(measurement, tmp_path, monkeypatch, capsys):
    images = Sweep(measurement, tmp_path / "first", ["fog"], [1]).run().images
    base = tmp_path / "base/cells"
    base.mkdir(parents=True)
    for name, value in (("clean", 90.0), ("contrast-1", 80.0), ("contrast-5", 60.0)):
        right, metrics = dict(top1="1" * 5 + "0" * 5), {"accuracy/top1": value}
        cell = dict(metrics=metrics, right=right, images=images)
        (base / f"{name}.json").write_text(json.dumps(cell))
    options = [f"{key}={value}" for key, value in measurement.cfg_options.items()]
    out = tmp_path / "out"
    command = [TOOL, measurement.config, measurement.checkpoint, "--work-dir", str(out)]
    command += ["--corruptions", "contrast", "--severities", "1", "5", "--base"]
    command += [f"{base.parent}:accuracy/top1", "--cfg-options", *options]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(TOOL, run_name="__main__")
    said = capsys.readouterr().out
    rows = json.loads((out / "results.json").read_text())["summary"]
    for head in ("", "_cnn", "_vit"):
        row = rows[f"accuracy/top1{head}"]
        (of_base,) = row["bases"].values()
        # the base's errors are 20 and 40
        assert of_base["mce"] == pytest.approx(100 * (200 - 2 * row["mpc"]) / 60)
        assert f"| accuracy/top1{head} | {base.parent}:accuracy/top1 |" in said
    assert cv2.imread(str(out / "results.png")).std() > 5
    assert (out / "results.md").read_text() in said


def test_detectors_see_corruptions_before_they_resize_and_classifiers_after(measurement):
    for config, after_all, place in ((DETECTOR, False, 1), (CLASSIFIER, True, -2)):
        loader = Config.fromfile(ROOT / config).test_dataloader
        loader.dataset = dict(type="RepeatDataset", times=1, dataset=loader.dataset)
        add_corruption(loader, Cell("fog", 3), measurement, after_all)
        steps = loader.dataset.dataset.pipeline
        assert steps[place]["type"] == f"robustnet_mm.{Corrupt.__name__}"
        assert steps[place]["severity"] == 3
    with pytest.raises(ValueError, match=r"must have a step LoadImage.*got \[\]"):
        add_corruption(Config(dict(dataset=dict(pipeline=[]))), Cell("fog", 3), measurement, False)


@pytest.mark.parametrize(
    "asked, message",
    [
        (dict(corruptions=["rain"]), "each of corruptions must be one of .*got 'rain'"),
        (dict(severities=[0]), r"each of severities must be in 1\.\.5, got 0"),
        (dict(corruptions=[]), "needs a corruption and a severity, got none"),
    ],
)
def test_a_sweep_of_nothing_is_refused(measurement, tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        Sweep(measurement, tmp_path, **asked)


def test_a_folder_without_a_sweep_says_so(tmp_path):
    with pytest.raises(ValueError, match="holds no sweep: run tools/analysis_tools/robustness.py"):
        read_found(tmp_path)
