import json
import os

import pytest
from mmengine.config import Config

from robustnet_mm.engine.records import read_epochs
from robustnet_mm.studies import value_of
from robustnet_mm.studies.grid import digest_of
from robustnet_mm.studies.run import run_cell


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


def test_a_metric_that_was_not_measured_is_told_with_those_that_were():
    epochs = [{"epoch": 1, "accuracy/top1": 7.0}, {"epoch": 2, "accuracy/top1": 8.0}]
    assert value_of(epochs, "accuracy/top1") == 8
    with pytest.raises(ValueError, match="'accuracy/top-1' was not measured, only accuracy/top1:"):
        value_of(epochs, "accuracy/top-1")


def test_a_training_that_was_never_validated_is_told(tmp_path):
    with pytest.raises(ValueError, match="no validation is recorded in .*: set train_cfg.val_int"):
        read_epochs(tmp_path)


def test_the_seconds_of_a_training_are_those_of_all_its_starts(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path)))
    (tmp_path / "started.json").write_text(
        json.dumps(dict(config=digest_of(cfg), before=100.0, start=1000.0))
    )
    (tmp_path / "log.txt").touch()
    os.utime(tmp_path / "log.txt", (1030, 1030))  # killed half a minute after its second start
    (tmp_path / "train.py").write_text("")
    took = run_cell(cfg, tmp_path / "train.py")
    kept = json.loads((tmp_path / "finished.json").read_text())["seconds"]
    assert kept == pytest.approx(130 + took, abs=0.1)
