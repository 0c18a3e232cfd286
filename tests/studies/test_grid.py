from pathlib import Path

import pytest
from helpers import ROOT, but_extended
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.studies import cells_of, config_of, read_study


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
def test_what_is_wrong_in_a_study_is_named(tmp_path, study_text, change, message):
    path = tmp_path / "wrong.py"
    path.write_text(study_text() + change + "\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_study(str(path))


def test_what_is_replaced_whole_comes_before_what_differs_in_it(tmp_path, study_text):
    path = tmp_path / "axes.py"
    grid = """
grid = dict(
    direction=dict(n={"model.backbone.direction": "none"}, b={}),
    towers=dict(t={"model.backbone": dict(arch="tiny-patch16")}),
)
reads, ensembles, controls = {}, {}, ["b+t"]
"""
    path.write_text(study_text() + grid)
    study = read_study(str(path))
    cells = cells_of(study)
    assert list(cells) == ["n+t", "b+t"]
    backbone = config_of(study, cells["n+t"], 0, tmp_path).model.backbone
    assert (backbone.arch, backbone.direction) == ("tiny-patch16", "none")
    changes = {"model.neck.1.x": 3, "model.neck": [dict(x=1), dict(x=2)]}
    assert config_of(study, changes, 0, tmp_path).model.neck == [dict(x=1), dict(x=3)]


@pytest.mark.parametrize("name", ["own_masks", "own_folders_selfsup"])
def test_what_gives_no_predictions_that_fit_a_file_keeps_none(tmp_path, monkeypatch, name):
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    study = read_study(str(ROOT / f"configs/studies/{name}.py"))
    cfg = config_of(study, {}, 3, tmp_path)
    assert cfg.randomness.seed == 3
    assert cfg.get("val_evaluator") == Config.fromfile(study.base).get("val_evaluator")


STUDIES = sorted(path.stem for path in (ROOT / "configs/studies").glob("*.py"))
LIKE_OTHERS = [name for name in STUDIES if "frozen" in name]


@pytest.mark.parametrize("name", but_extended(STUDIES, LIKE_OTHERS))
def test_every_cell_of_every_study_is_a_model_of_its_own(name, tmp_path, own_data, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(own_data))
    path = ROOT / f"configs/studies/{name}.py"
    study, found, built = read_study(str(path)), set(), set()
    for cell, differences in cells_of(study).items():
        cfg = config_of(study, differences, 0, tmp_path)
        model = cfg.model
        if "data_preprocessor" in cfg:
            model.setdefault("data_preprocessor", cfg.data_preprocessor)
        if repr(model) not in built:  # cells often differ in how they are trained alone
            with DefaultScope.overwrite_default_scope(cfg.default_scope):
                MODELS.build(model)
            built.add(repr(model))
        found.add((cell, repr(cfg.to_dict())))
    assert len({text for _, text in found}) == len(found) > 1


def test_a_study_elsewhere_inherits_one_of_the_package(tmp_path, own_data, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(own_data))
    parent = ROOT / "configs/studies/own_folders.py"
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = {str(parent)!r}\nseeds = [7]\n")
    study = read_study(str(path))
    assert study.seeds == [7] and cells_of(study) == cells_of(read_study(str(parent)))
    assert Path(study.base).resolve() == Path(read_study(str(parent)).base).resolve()
