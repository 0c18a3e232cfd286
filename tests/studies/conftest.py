"""The config of the smallest study."""

import pytest
from helpers import ROOT

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


@pytest.fixture(scope="session")
def study_text():
    """A function from the folder of the data to the text of a study."""
    base = str(ROOT / "configs/digit_scenes/robustnet-nano_5e_crops.py")
    return lambda data="data/": STUDY.format(base=base, data=data)
