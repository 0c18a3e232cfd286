"""The benchmark's figures are of the passes that it names; how fast they are is not tested."""

import json
import re
import runpy
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers import CLASSIFIER, ROOT, close

from robustnet_mm.models import RobustNet

SEGMENTOR = "configs/digit_scenes/segformer_robustnet-nano_digit-scenes.py"
TOOL = str(ROOT / "tools/analysis_tools/benchmark.py")


@pytest.fixture(autouse=True)
def beside_its_tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools/analysis_tools"))


@pytest.fixture
def start(monkeypatch, tmp_path, capsys):
    def run(*args):
        command = [TOOL, "--arch", "nano", "--size", "64", "96", "--rounds", "2"]
        command += ["--warmup", "0", "--device", "cpu", "--out", str(tmp_path), *args]
        monkeypatch.setattr(sys, "argv", command)
        runpy.run_path(TOOL, run_name="__main__")
        return json.loads((tmp_path / "results.json").read_text()), capsys.readouterr().out

    return run


def test_every_contender_is_run_and_written_with_its_ratio_to_the_base(start, tmp_path):
    names = ["floor", "both", "papers_order", "none", "windows", "with_cp"]
    record, said = start("--contenders", *names, "--mode", "forward", "train", "--globals", "3")
    for mode in ("forward", "train"):
        rows = record["results"][mode]
        assert list(rows) == names and rows["floor"]["ratio"] == 1.0
        assert all(0 < row["low"] <= row["median"] <= row["high"] for row in rows.values())
    assert said.count("| both |") == 2 and "not measured" in said
    assert (tmp_path / "results.png").stat().st_size > 5000


@pytest.mark.extended  # a process for each peak
def test_memory_is_that_of_the_step_in_a_process_of_its_own(start):
    names = ["--contenders", "with_cp", "both", "--base", "both", "--mode", "train", "--memory"]
    # 81 MiB apart; a process can have 16 more for reasons of its own
    rows = start(*names, "--size", "384", "384", "--batch", "4")[0]["results"]["train"]
    assert 0 < rows["with_cp"]["memory"] < rows["both"]["memory"]


def test_the_papers_order_gives_the_same_numbers():
    tool = runpy.run_path(TOOL)
    net = RobustNet("nano", form="gated").eval()
    for parameter in net.fius.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        ours = net(images)
        theirs = tool["in_papers_order"](net)(images)
    close(ours.tokens, theirs.tokens, net)


def test_towers_in_turn_with_silent_exchanges_give_what_they_give_alone():
    tool = runpy.run_path(TOOL)
    net, images = tool["alternating"]("nano").eval(), torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        out = net(images)
        assert torch.equal(out.tokens, net.vit(images)[0])
        assert all(torch.equal(a, b) for a, b in zip(out.maps, net.cnn(images), strict=True))


def test_half_precision_is_what_the_network_computes_in(start):
    record, said = start("--contenders", "floor", "both", "--dtype", "bf16", "--mode", "train")
    assert record["settings"]["dtype"] == "bf16" and "64 x 96, batch 1, bf16" in said
    tool = runpy.run_path(TOOL)
    args = SimpleNamespace(
        arch="nano", size=(64, 96), batch=1, device="cpu", dtype="bf16", mode="train"
    )
    contender, dtypes = tool["Contender"]("both", "train", args), set()
    contender.model.cnn.blocks[0].conv1.register_forward_hook(
        lambda module, inputs, output: dtypes.add(output.dtype)
    )
    contender.step()
    assert dtypes == {torch.bfloat16}


def test_a_base_that_does_not_run_is_named(start):
    with pytest.raises(SystemExit, match="--base must be one of the contenders"):
        start("--contenders", "both")


@pytest.mark.extended
@pytest.mark.parametrize("sides", [["96"], ["64", "96"]])
def test_growth_is_measured_side_by_side(sides, monkeypatch, tmp_path, capsys):
    command = ["growth.py", "--sides", *sides, "--out", str(tmp_path), "--arch", "nano"]
    command += ["--contenders", "floor", "--rounds", "2", "--warmup", "0", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(TOOL.replace("benchmark.py", "growth.py"), run_name="__main__")
    record = json.loads((tmp_path / "96/results.json").read_text())
    assert record["settings"]["size"] == [96, 96]
    seconds = record["results"]["forward"]["floor"]["median"]
    said = capsys.readouterr().out
    assert all(f"| {side} | " in said for side in sides)
    assert "| side | floor |" in said and f"{seconds:.2f} s" in said
    assert (tmp_path / "growth.png").stat().st_size > 5000


def test_a_folded_network_is_not_trained(start):
    with pytest.raises(SystemExit, match="folded cannot be trained"):
        start("--contenders", "floor", "folded", "--mode", "train")


@pytest.mark.extended  # a process for each row
def test_the_training_of_a_detector_is_measured(tmp_path, monkeypatch):
    path = TOOL.replace("benchmark.py", "benchmark_detector.py")
    command = [path, str(ROOT / "configs/coco/mask-rcnn_robustnet-tiny-patch16_fpn_1x_coco.py")]
    command += ["--size", "96", "128", "--batches", "1", "--ways", "with_cp, windows"]
    command += ["--steps", "1", "--warmup", "1", "--device", "cpu", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(path, run_name="__main__")
    (row,) = json.loads((tmp_path / "detector.json").read_text())["results"]
    assert row["found"]["seconds"] > 0
    # 26.8 million parameters, their gradients and two moments of AdamW, and what a step keeps
    assert 4 * 4 * 26.8e6 / 1e9 < row["found"]["peak"] < 2
    assert "| with_cp, windows | 1 | " in (tmp_path / "detector.md").read_text()


@pytest.mark.extended  # a process for each peak
@pytest.mark.parametrize("model", [CLASSIFIER, SEGMENTOR])
def test_a_model_is_timed_beside_another(monkeypatch, tmp_path, capsys, model):
    (tmp_path / "classes.txt").write_text("ground\nsky\n")  # no image is read
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    path = TOOL.replace("benchmark.py", "benchmark_models.py")
    argv = [path, str(ROOT / model), "--sizes", "64x96", "--rounds", "2", "--batch", "2"]
    monkeypatch.setattr(sys, "argv", argv)
    runpy.run_path(path, run_name="__main__")
    found = re.findall(
        r"\| 64x96 \| (forward|train) \| .* \| 1.000 \| (\d+) MiB", capsys.readouterr().out
    )
    assert [mode for mode, _ in found] == ["forward", "train"]
    assert 0 < int(found[0][1]) < int(found[1][1])
