"""A study trains its cells once, and its figures are those of the predictions that it kept."""

import contextlib
import io
import json
import pickle
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import ROOT, but_extended
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from scipy import stats

from robustnet_mm.analysis.study import (
    compare,
    join,
    paired,
    read_epochs,
    resampled,
    right_images,
    score_of_draws,
)
from robustnet_mm.analysis.study_report import markdown
from robustnet_mm.datasets import make_digit_scenes

TOOL = str(ROOT / "tools/analysis_tools/study.py")
SUMS = str(ROOT / "tools/analysis_tools/compare_sums.py")
STUDY = """
base = {base!r}
seeds = [0, 1]
metric = "accuracy/top1"
controls = ["logit_sum", "none"]
common = {{
    "model.backbone": dict(_delete_=True, type="robustnet_mm.RobustNet", arch="nano"),
    "train_cfg.max_epochs": 1,
    "train_dataloader.dataset.data_root": {data!r},
    "val_dataloader.dataset.data_root": {data!r},
}}
_none = {{"model.backbone.direction": "none"}}
grid = dict(row=dict(none=_none, both={{}}))
reads = dict(none="accuracy/top1_cnn")
ensembles = dict(logit_sum=("none", "both"))
"""


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
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    data = make_digit_scenes(folder / "data", scenes=(2, 1), crops=(60, 20))
    path = folder / "tiny.py"
    base = str(ROOT / "configs/digit_scenes/robustnet-nano_5e_crops.py")
    path.write_text(STUDY.format(base=base, data=f"{data}/"))
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
    assert "holds a training by another config: remove it, or set --work-dir" in refused.stdout
    assert "no cell of" in refused.stderr  # what was trained otherwise is not in the table


def test_a_training_that_fails_is_told_and_the_others_count(study):
    path, out, _ = study
    broken = path.with_name("broken.py")
    bad = 'both={}, bad={"optim_wrapper.optimizer.type": "No"}'
    broken.write_text(path.read_text().replace("both={}", bad).replace("[0, 1]", "[0]"))
    ended = start(broken, "--work-dir", out)
    assert ended.returncode == 1 and "bad seed 0: training ended with 1" in ended.stdout
    assert "| both | 1 |" in ended.stdout and "| bad" not in ended.stdout


@pytest.mark.parametrize(
    "change, message",
    [
        ("seed = 3", r"has unknown \['seed'\]"),
        (
            "controls = ['cnn']",
            r"controls of .* must name cells \(none, both\), or ensembles: 'cnn'",
        ),
        ("reads = dict(bth='x')", r"reads of .* must name cells \(none, both\): 'bth'"),
        ("seeds = [1, 1]", r"seeds of .* must be a list of different numbers, got \[1, 1\]"),
        ("base = 'no.py'", "no.py does not exist"),
        ("seeds = 3", "seeds of .* must be a list of different numbers, got 3"),
        ("grid = dict(row=['a'])", "grid of .* must be dict"),
        ("metric = 'accuracy/f1'", "ensembles of .* need a metric of a joined prediction"),
        (
            "ensembles = dict(both=('none', 'both')); controls = ['none']",
            "must have names of their own, got",
        ),
    ],
)
def test_what_is_wrong_in_a_study_is_named(tmp_path, change, message):
    path = tmp_path / "wrong.py"
    base = str(ROOT / "configs/digit_scenes/robustnet-nano_5e_crops.py")
    path.write_text(STUDY.format(base=base, data="data/") + change + "\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        runpy.run_path(TOOL)["read_study"](str(path))


def test_a_metric_that_was_not_measured_is_told_with_those_that_were(study, tmp_path):
    _, out, _ = study
    with pytest.raises(ValueError, match="'accuracy/top-1' was not measured, only accuracy/top1,"):
        runpy.run_path(TOOL)["value_of"](read_epochs(out / "both/seed_0"), "accuracy/top-1")


def test_what_is_replaced_whole_comes_before_what_differs_in_it(tmp_path):
    tool = runpy.run_path(TOOL)
    path = tmp_path / "axes.py"
    base = str(ROOT / "configs/digit_scenes/robustnet-nano_5e_crops.py")
    grid = """
grid = dict(
    direction=dict(n={"model.backbone.direction": "none"}, b={}),
    towers=dict(t={"model.backbone": dict(arch="tiny-patch16")}),
)
reads, ensembles, controls = {}, {}, ["b+t"]
"""
    path.write_text(STUDY.format(base=base, data="data/") + grid)
    study = tool["read_study"](str(path))
    cells = tool["cells_of"](study)
    assert list(cells) == ["n+t", "b+t"]
    backbone = tool["config_of"](study, cells["n+t"], 0, tmp_path).model.backbone
    assert (backbone.arch, backbone.direction) == ("tiny-patch16", "none")


def test_the_interval_is_students_over_the_differences_seed_by_seed():
    ours, control = {0: 3.0, 1: 5.0, 2: 4.0, 7: 99.0}, {2: 1.0, 0: 2.0, 1: 2.0}
    got = paired(ours, control)
    low, high = stats.ttest_rel([3, 5, 4], [2, 2, 1]).confidence_interval(0.95)
    assert got["seeds"] == 3
    np.testing.assert_allclose([got["mean"], got["low"], got["high"]], [7 / 3, low, high])
    assert paired({0: 1.0}, {0: 0.5}) == dict(mean=0.5, low=None, high=None, seeds=1)
    assert paired({0: 1.0}, {1: 0.5}) is None


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

    for terms, message in (
        (("--ours", "both:token", "--control", "none"), "no head 'token', only ['cnn', 'vit', "),
        (("--ours", "all", "--control", "none"), "fewer than two seeds are finished by all of all"),
        (("--ours", "both:cnn:x", "--control", "none"), "'both:cnn:x'"),
        (("--ours", "both", "--control", "none", "--seeds", "0", "7"), "seeds [7] are not"),
    ):
        refused = start(out, *terms, tool=SUMS)
        assert refused.returncode and message in refused.stderr


def test_the_weights_of_a_sum_decide():
    scores = dict(cnn_score=[0.9, 0.1], vit_score=[0.2, 0.8], pred_score=[0.7, 0.3])
    sample = {name: torch.tensor(values) for name, values in scores.items()}
    sample["gt_label"] = torch.tensor([1])
    for weights, right in (((1, 1), False), ((1, 2), True), ((2, 2), False), ((0, 1), True)):
        assert right_images([[sample]] * 2, ["cnn", "vit"], weights).tolist() == [right]
    assert right_images([[sample]], ["sum"], [1]).tolist() == [False]


def test_the_noise_of_seeds_and_that_of_images_are_both_in_the_interval():
    random, count = np.random.default_rng(1), 400
    images = np.tile(random.normal(1, 20, count), (5, 1))  # each seed alike
    seeds = np.tile(random.normal(1, 3, (40, 1)), (1, 10))  # each image alike
    for rows, error in (
        (images, images[0].std() / count**0.5),
        (seeds, seeds[:, 0].std() / 40**0.5),
    ):
        low, high = resampled(lambda k, drawn, of=rows: of[k, drawn].mean(), *rows.shape)
        mean = rows.mean()
        np.testing.assert_allclose([mean - low, high - mean], 1.96 * error, rtol=0.1)


def test_a_table_shows_mean_deviation_and_interval():
    runs = dict(
        a={0: dict(value=50.0), 1: dict(value=52.0)}, b={0: dict(value=40.0), 1: dict(value=44.0)}
    )
    table = markdown(runs, compare(runs, ["b"]), Config(dict(metric="m")))
    assert "| a | 2 | 51.00 ± 1.41 | +9.00 [-3.71, +21.71] |" in table


def test_an_interrupted_training_counts_each_epoch_once(tmp_path):
    for name, lines in (
        ("1", [dict(lr=1, loss=2, step=1), {"a/top1": 1, "step": 1}, {"a/top1": 2, "step": 2}]),
        ("2", [{"a/top1": 3, "step": 2}, {"weave/0_gate": 5, "step": 2}, {"a/top1": 4, "step": 3}]),
    ):
        folder = tmp_path / name / "vis_data"
        folder.mkdir(parents=True)
        (folder / "scalars.json").write_text("\n".join(map(json.dumps, lines)))
    assert read_epochs(tmp_path) == [
        {"epoch": 1, "a/top1": 1},
        {"epoch": 2, "a/top1": 3, "weave/0_gate": 5},
        {"epoch": 3, "a/top1": 4},
    ]


@pytest.fixture
def detections(tmp_path):
    """(annotations by image id, a function that keeps detections as a training does)."""
    data = make_digit_scenes(tmp_path / "data", scenes=(2, 3), crops=(10, 10))
    file = data / "annotations/instances_val.json"
    content = json.loads(file.read_text())
    ids = sorted(c["id"] for c in content["categories"])
    truth = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        truth[annotation["image_id"]].append(annotation)
    cfg = Config.fromfile(ROOT / "configs/digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py")
    cfg.val_evaluator = [dict(type="CocoMetric", ann_file=str(file), metric="bbox")]

    def keep(name, seen):
        samples = []
        for image, annotations in seen.items():
            boxes = torch.tensor([a["bbox"] for a in annotations]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            labels = [ids.index(a["category_id"]) for a in annotations]
            instances = dict(
                bboxes=boxes,
                scores=torch.full((len(boxes),), 0.9),
                labels=torch.tensor(labels, dtype=torch.long),
            )
            samples.append(dict(img_id=image, ori_shape=(192, 192), pred_instances=instances))
        folder = tmp_path / name / "seed_0"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "predictions.pkl").write_bytes(pickle.dumps(samples))
        cfg.dump(folder / "cell.py")
        return folder

    return truth, keep


def test_two_detectors_are_united_and_what_both_see_counts_once(detections):
    truth, keep = detections
    half = {image: len(annotations) // 2 for image, annotations in truth.items()}
    one = keep("one", {image: truth[image][: n + 1] for image, n in half.items()})
    two = keep("two", {image: truth[image][n:] for image, n in half.items()})
    found = join([one, two], [""] * 2, "coco/bbox_mAP")
    alone = join([one], [""], "coco/bbox_mAP")
    assert alone < found == 1  # all that one or the other sees is right, and all is seen
    for name in ("one", "two"):  # images in which neither sees anything
        keep(name, {image: [] for image in truth})
    assert join([one, two], [""] * 2, "coco/bbox_mAP") == 0


def test_the_precision_of_drawn_images_is_the_hosts_over_those_images(detections):
    truth, keep = detections
    first, *others = sorted(truth)
    metric, heads = "coco/bbox_mAP_50", (["sum"], [1])
    seen = {first: truth[first]} | {image: truth[image][::2] for image in others}
    folder = keep("one", dict(reversed(seen.items())))  # in another order than that of the ids
    images, score = score_of_draws([folder], *heads, metric)
    assert images == 3
    whole = join([folder], [""], metric)  # rounded by the host
    assert score(np.arange(3)) == pytest.approx(whole, abs=6e-4) and score([1, 2]) < 1
    assert score([0]) == pytest.approx(1) == score([0, 0, 0])  # the one image in which all is found
    assert score([0, 1]) > score([0, 1, 1])
    blind = keep("two", dict.fromkeys(reversed(seen), []))
    assert score_of_draws([blind], *heads, metric)[1](np.arange(3)) == 0
    both = score_of_draws([folder, blind], ["sum"] * 2, [1] * 2, metric)[1]
    assert both(np.arange(3)) == score(np.arange(3))
    for change, message in (
        (dict(metric="coco/segm_mAP"), "coco/bbox_mAP_75, got 'coco/segm_mAP'"),
        (dict(heads=["cnn"]), "no heads and no weights, got \\['cnn'\\]"),
    ):
        arguments = dict(heads=["sum"], weights=[1], metric=metric) | change
        with pytest.raises(ValueError, match=message):
            score_of_draws([folder], **arguments)


STUDIES = sorted(path.stem for path in (ROOT / "configs/studies").glob("*.py"))
LIKE_OTHERS = [name for name in STUDIES if re.search("long|dip|rates|tiny|frozen", name)]


@pytest.mark.parametrize("name", but_extended(STUDIES, LIKE_OTHERS))
def test_every_cell_of_every_study_is_a_model_of_its_own(name, tmp_path, own_data, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(own_data))
    path = ROOT / f"configs/studies/{name}.py"
    tool = runpy.run_path(TOOL)
    study, found, built = tool["read_study"](str(path)), set(), set()
    for cell, differences in tool["cells_of"](study).items():
        cfg = tool["config_of"](study, differences, 0, tmp_path)
        model = cfg.model
        if "data_preprocessor" in cfg:
            model.setdefault("data_preprocessor", cfg.data_preprocessor)
        if repr(model) not in built:  # cells often differ in how they are trained alone
            with DefaultScope.overwrite_default_scope(cfg.default_scope):
                MODELS.build(model)
            built.add(repr(model))
        found.add((cell, repr(cfg.to_dict())))
    assert len({text for _, text in found}) == len(found) > 4
