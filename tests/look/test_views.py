"""The views as a notebook calls them: the block of the page, and what a picture costs."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CLASSIFIER, DETECTOR, ROOT, open_exchanges
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm import look
from robustnet_mm.look import Subject, view_cam, view_gradients, view_predict, view_saliency

BLOCKS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs/look-inside.md").read_text(), flags=re.DOTALL
)


@pytest.fixture(scope="module")
def crop(data):
    return sorted((data / "crops/val").rglob("*.jpg"))[0]


@pytest.fixture(scope="module")
def digit(checkpoints):
    return Subject(str(ROOT / CLASSIFIER), str(checkpoints[CLASSIFIER]))


@pytest.fixture(scope="module")
def scene(data):
    return sorted((data / "scenes/val").glob("*.jpg"))[0]


@pytest.fixture(scope="module")
def detector(data, checkpoints):
    options = {"test_dataloader.dataset.data_root": f"{data}/"}
    options["model.test_cfg.rcnn.score_thr"] = 0.0
    return Subject(str(ROOT / DETECTOR), str(checkpoints[DETECTOR]), options)


def test_the_lines_of_the_page_run_and_are_all_views(crop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pair.py").write_text(  # shallow: each layer is a picture
        f"_base_ = {str(ROOT / CLASSIFIER)!r}\n"
        "model = dict(backbone=dict(weave=[(0, 0)], vit=dict(model_args=dict(depth=1))))\n"
    )
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(Config.fromfile("pair.py").model)
    open_exchanges(model.backbone)
    torch.save(model.state_dict(), "pair.pth")
    shutil.copy(crop, "photo.jpg")
    views, functions = BLOCKS
    every = {name for name in look.__all__ if name.startswith("view_")}
    assert set(re.findall(r"(view_\w+)\(", views)) == every
    names = {}
    exec(compile(views, "look-inside.md", "exec"), names)
    assert names["name"] == "page-01" and names["panel"].dtype == np.uint8
    exec(compile(functions, "look-inside.md", "exec"), names)
    assert names["probe"].exchanges[0].squeeze.share > 0


@pytest.fixture
def runs():
    """A function that counts how often the backbone of a subject runs from now on."""
    handles = []

    def of(subject):
        found = []
        hook = subject.model.backbone.register_forward_hook(lambda *args: found.append(1))
        handles.append(hook)
        return found

    yield of
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("view", [view_cam, view_gradients])
def test_a_classifier_runs_once_for_all_its_heads_and_places(view, digit, crop, runs):
    count = runs(digit)
    for target in (None, 3):
        panel, arrays = view(digit, crop, target=target)
        assert len(arrays) == (6 if view is view_cam else 12)
    assert len(count) == 2


@pytest.mark.parametrize("view", [view_cam, view_gradients])
def test_a_detector_runs_once_to_detect_and_once_to_explain(view, detector, scene, runs):
    count = runs(detector)
    panel, arrays = view(detector, scene, score_thr=0.0)
    assert {name[0] for name in arrays} == set("012")  # detections
    assert len(count) == 2
    view(detector, scene, score_thr=1.1)  # nothing to explain
    assert len(count) == 3


def test_pixels_cost_a_run_for_each_head_and_one_for_the_scores(digit, crop, runs):
    count = runs(digit)
    view_saliency(digit, crop)
    assert len(count) == 4


def test_a_path_is_read_as_the_tool_reads_it(digit, crop):
    shown = digit.read(str(crop))
    expected, arrays = view_cam(digit, shown)
    for path in (crop, str(crop)):
        panel, found = view_cam(digit, path)
        np.testing.assert_array_equal(panel, expected)
        assert all(np.array_equal(found[name], values) for name, values in arrays.items())


def test_the_ground_truth_is_that_of_the_config_unless_a_file_is_named(
    detector, scene, data, monkeypatch
):
    beside, _ = view_predict(detector, scene, score_thr=0.0)
    file = str(data / "annotations/instances_val.json")
    same, _ = view_predict(detector, scene, score_thr=0.0, annotations=file)
    np.testing.assert_array_equal(beside, same)
    monkeypatch.setitem(detector.dataset, "ann_file", "none.json")
    alone, _ = view_predict(detector, scene, score_thr=0.0)
    assert alone.shape[1] < beside.shape[1]
    assert detector.annotations(file) is detector.annotations(file)  # read once
    with pytest.raises(ValueError, match="^annotations must be a COCO file that can be read, got"):
        view_predict(detector, scene, annotations=str(scene))


def test_settings_that_a_view_does_not_have_and_classes_that_are_not_there_are_named(
    digit, detector, crop, scene
):
    with pytest.raises(TypeError, match="method"):
        view_saliency(digit, crop, method="gradcam")
    with pytest.raises(ValueError, match="^target must be a class in 0..9, got 10: leave it out"):
        view_cam(digit, crop, target=10)
    with pytest.raises(ValueError, match="^target is for classifiers; .* see score_thr and most"):
        view_gradients(detector, scene, target=1)
    with pytest.raises(ValueError, match="^method must be one of gradcam, .*got 'cam'"):
        view_cam(digit, crop, method="cam")
    with pytest.raises(look.subject.UnreadableImageError):
        view_cam(digit, "none.jpg")
