import json

import pytest
from mmengine.config import Config

from robustnet_mm.studies import compare, markdown
from robustnet_mm.studies.report import write


def test_a_table_shows_mean_deviation_and_interval():
    runs = dict(
        a={0: dict(value=50.0), 1: dict(value=52.0)}, b={0: dict(value=40.0), 1: dict(value=44.0)}
    )
    table = markdown(runs, compare(runs, ["b"]), "m")
    assert "| a | 2 | 51.00 ± 1.41 | +9.00 [-3.71, +21.71] |" in table


def test_every_metric_that_all_trainings_have_is_compared(tmp_path):
    def run(box, mask, **more):
        last = {"epoch": 1, "coco/bbox_mAP": box, "coco/segm_mAP": mask, **more}
        return dict(value=box, epochs=[last], seconds=1)

    runs = dict(a={0: run(0.5, 0.25), 1: run(0.5, 0.35)}, b={0: run(0.5, 0.2, x=1)})
    runs["b"][1] = run(0.5, 0.3)
    runs["joined"] = {0: dict(value=0.6, epochs=[])}
    study = dict(
        base=str(tmp_path / "base.py"),
        metric="coco/bbox_mAP",
        controls=["b"],
        reads={},
        ensembles=dict(joined="ab"),
    )
    write(runs, Config(study), tmp_path)
    record = json.loads((tmp_path / "results.json").read_text())
    assert list(record["others"]) == ["coco/segm_mAP"]
    assert record["others"]["coco/segm_mAP"]["b"]["a"]["mean"] == pytest.approx(0.05)
    assert "| cell | seeds | coco/segm_mAP |" in (tmp_path / "results.md").read_text()
