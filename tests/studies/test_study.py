"""A study trains its cells once, and its figures are those of the predictions that it kept."""

import contextlib
import io
import json
import pickle
import re
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config

from robustnet_mm.datasets import make_digit_scenes
from robustnet_mm.intervals import paired
from robustnet_mm.studies.run import alone_in

TOOL = str(ROOT / "tools/analysis_tools/study.py")
SUMS = str(ROOT / "tools/analysis_tools/compare_sums.py")


def start(*args, tool=TOOL):
    """Run a tool in this process; its trainings are processes of their own."""
    command, code = [tool, *map(str, args)], 0
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        patch.setenv("PYTHONPATH", str(ROOT))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_path(tool, run_name="__main__")
            except (Exception, SystemExit) as end:
                code = end.code if isinstance(getattr(end, "code", None), int) else 1
                err.write(str(end))
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def study(tmp_path_factory, study_text):
    folder = tmp_path_factory.mktemp("study")
    data = make_digit_scenes(folder / "data", scenes=(2, 1), crops=(60, 20))
    path = folder / "tiny.py"
    path.write_text(study_text(f"{data}/"))
    first = start(path, "--work-dir", folder / "out", "--processes", "2")
    assert first.returncode == 0, first.stderr[-3000:]
    return path, folder / "out", first.stdout


def test_every_cell_is_trained_with_every_seed_and_told_in_one_line(study):
    _, out, said = study
    lines = [line for line in said.splitlines() if line.startswith("[")]
    assert sorted(line.split(":")[0].split("] ")[1] for line in lines) == [
        "both seed 0",
        "both seed 1",
        "none seed 0",
        "none seed 1",
    ]
    for cell in ("both", "none"):  # what is deleted is deleted in every cell
        backbone = Config.fromfile(out / cell / "seed_1/cell.py").model.backbone
        assert "weave" not in backbone and backbone.arch == "nano"
    for name in ("results.md", "curves.png", "differences.png"):
        assert (out / name).stat().st_size > 100
    assert not list(out.rglob("*.pth"))  # not asked for


def test_the_figures_are_those_of_the_kept_predictions(study):
    _, out, _ = study
    runs = json.loads((out / "results.json").read_text())["runs"]
    for seed in ("0", "1"):
        kept = {}
        for cell, field in (("none", "cnn_score"), ("both", "pred_score")):
            samples = pickle.loads((out / cell / f"seed_{seed}/predictions.pkl").read_bytes())
            labels = torch.cat([sample["gt_label"] for sample in samples])
            kept[cell] = torch.stack([sample[field] for sample in samples]).log()
            right = 100 * (kept[cell].argmax(1) == labels).float().mean().item()
            assert runs[cell][seed]["value"] == pytest.approx(right)
            assert runs[cell][seed]["epochs"][-1]["epoch"] == 1
        joined = (kept["none"] + kept["both"]).argmax(1) == labels
        assert runs["logit_sum"][seed]["value"] == pytest.approx(100 * joined.float().mean().item())


def test_what_the_heads_know_is_counted_image_by_image(study):
    _, out, _ = study
    runs = json.loads((out / "results.json").read_text())["runs"]
    assert "heads" not in runs["none"]["0"]  # it reads one head only
    samples = pickle.loads((out / "both/seed_0/predictions.pkl").read_bytes())
    counts = dict.fromkeys(("cnn", "vit", "agree", "either", "sum", "sum_25", "sum_75"), 0)
    for sample in samples:
        cnn, vit, label = sample["cnn_score"], sample["vit_score"], int(sample["gt_label"])
        first, second = int(cnn.argmax()), int(vit.argmax())
        counts["cnn"] += first == label
        counts["vit"] += second == label
        counts["agree"] += first == second
        counts["either"] += label in (first, second)
        counts["sum"] += int((cnn * vit).argmax()) == label
        counts["sum_25"] += int((cnn * vit**3).argmax()) == label
        counts["sum_75"] += int((cnn**3 * vit).argmax()) == label
    heads = runs["both"]["0"]["heads"]
    assert heads == pytest.approx({name: 100 * n / len(samples) for name, n in counts.items()})
    assert heads["cnn"] == pytest.approx(runs["both"]["0"]["epochs"][-1]["accuracy/top1_cnn"])
    mean = (heads["either"] + runs["both"]["1"]["heads"]["either"]) / 2
    assert f" | {mean:.2f} | " in (out / "results.md").read_text().split("What the heads know")[1]


def test_a_second_run_trains_nothing_and_another_config_is_refused(study):
    path, out, _ = study
    again = start(path, "--work-dir", out)
    assert again.returncode == 0 and again.stdout.count("was finished") == 4
    other = path.with_name("other.py")
    other.write_text(path.read_text() + 'common["train_dataloader.batch_size"] = 4\n')
    refused = start(other, "--work-dir", out, "--only", "both")
    assert refused.returncode == 1
    assert "holds a training by another config: remove it, or set --work-dir" in refused.stderr
    assert not refused.stdout  # nothing was trained


def test_a_dry_run_lists_what_would_be_trained(study):
    path, out, _ = study
    listed = start(path, "--work-dir", out, "--dry-run")
    assert listed.returncode == 0 and listed.stdout.count("was finished") == 4
    listed = start(path, "--work-dir", out / "new", "--dry-run", "--only", "both")
    assert listed.stdout == "both seed 0: to be trained\nboth seed 1: to be trained\n"
    assert not (out / "new").exists()


def test_a_model_that_cannot_be_made_is_told_before_anything_is_trained(study):
    path, out, _ = study
    broken = path.with_name("unmade.py")
    bad = 'both={}, bad={"model.head.cnn.in_channels": 0}'
    broken.write_text(path.read_text().replace("both={}", bad))
    ended = start(broken, "--work-dir", out / "unmade")
    assert "cell bad: its model cannot be made: " in ended.stderr and "in_channels" in ended.stderr
    assert not ended.stdout and not (out / "unmade").exists()


def test_a_second_study_in_the_same_folder_is_told(tmp_path):
    """The lock is the system's, and one process has it once: a child asks."""
    ask = "from robustnet_mm.studies.run import alone_in; import sys, pathlib\n"
    ask += "with alone_in(pathlib.Path(sys.argv[1])): pass"
    with alone_in(tmp_path):
        second = subprocess.run(
            [sys.executable, "-c", ask, tmp_path], capture_output=True, text=True
        )
    assert second.returncode == 1 and "another study runs in" in second.stderr


def test_a_training_that_fails_is_told_and_the_others_count(study):
    path, out, _ = study
    broken = path.with_name("broken.py")
    bad = 'both={}, bad={"optim_wrapper.optimizer.type": "No"}'
    broken.write_text(path.read_text().replace("both={}", bad).replace("[0, 1]", "[0]"))
    ended = start(broken, "--work-dir", out)
    assert ended.returncode == 1 and "bad seed 0: training ended with 1" in ended.stdout
    assert "| both | 1 |" in ended.stdout and "| bad" not in ended.stdout


def test_what_has_finished_is_reported_without_training(study, tmp_path):
    path, out, _ = study
    for cell in ("none", "both"):
        shutil.copytree(out / f"{cell}/seed_0", tmp_path / f"{cell}/seed_0")
    done = start(path, "--work-dir", tmp_path, "--report")
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert sorted(runs) == ["both", "logit_sum", "none"]
    assert all(list(seeds) == ["0"] for seeds in runs.values())
    nothing = start(path, "--work-dir", tmp_path / "empty", "--report")
    assert nothing.returncode and "has finished in" in nothing.stderr


def test_weighted_sums_of_heads_are_compared_seed_by_seed(study):
    _, out, _ = study
    terms = ("--ours", "both", "--control", "none:cnn", "both:vit:-3")
    told = start(out, *terms, tool=SUMS)
    assert told.returncode == 0, told.stderr
    means = []
    for seed in (0, 1):
        none, both = (
            pickle.loads((out / f"{cell}/seed_{seed}/predictions.pkl").read_bytes())
            for cell in ("none", "both")
        )
        ours = [int(b["pred_score"].argmax()) == int(b["gt_label"]) for b in both]
        control = [
            int((n["cnn_score"] * b["vit_score"] ** -3).argmax()) == int(b["gt_label"])
            for n, b in zip(none, both, strict=True)
        ]
        means.append((100 * np.mean(ours), 100 * np.mean(control)))
    (a, b), (c, d) = means
    lead = paired({0: a, 1: c}, {0: b, 1: d})
    interval = f"[{lead['low']:+.2f}, {lead['high']:+.2f}] over 2 seeds"
    assert f"{(a + c) / 2:.2f} - {(b + d) / 2:.2f} = {lead['mean']:+.2f} {interval}" in told.stdout
    narrow = [float(n) for n in re.findall(r"[+-][0-9.]+(?=[,\]])", told.stdout)]
    told = start(out, *terms, "--comparisons", "4", tool=SUMS)
    lead = paired({0: a, 1: c}, {0: b, 1: d}, 1 - 0.05 / 4)
    assert f"[{lead['low']:+.2f}, {lead['high']:+.2f}] over 2 seeds" in told.stdout
    wide = [float(n) for n in re.findall(r"[+-][0-9.]+(?=[,\]])", told.stdout)]
    assert wide[2] < narrow[2] < narrow[3] < wide[3] and "98.75 % intervals" in told.stdout

    for terms, message in (
        (("--ours", "both:token", "--control", "none"), "no head 'token', only ['cnn', 'vit', "),
        (("--ours", "all", "--control", "none"), "fewer than two seeds are finished by all of all"),
        (("--ours", "both:cnn:x", "--control", "none"), "'both:cnn:x'"),
        (("--ours", "both", "--control", "none", "--seeds", "0", "7"), "seeds [7] are not"),
        (("--ours", "both", "--control", "none", "--comparisons", "0"), "must be 1 or more, got 0"),
    ):
        refused = start(out, *terms, tool=SUMS)
        assert refused.returncode and message in refused.stderr
