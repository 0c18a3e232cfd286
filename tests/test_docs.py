"""Pages of docs/ that are made of lines to run."""

import re

from helpers import ROOT
from mmengine.registry import MODELS, DefaultScope


def run_page(name: str) -> dict:
    """The Python of a page, block after block; the names that it leaves."""
    names = {}
    page = (ROOT / f"docs/{name}.md").read_text()
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, f"{name}.md", "exec"), names)  # noqa: S102
    return names


def test_a_tower_of_ones_own_is_woven_and_frozen(capsys):
    from robustnet_mm.registry import MODELS as OURS

    try:
        with DefaultScope.overwrite_default_scope("mmdet"):  # as in a host's config
            names = run_page("own-tower")
    finally:
        OURS.module_dict.pop("PlainTower", None)
    net = names["net"]
    assert len(net.exchanges) == 3 and "(6, 10)" in capsys.readouterr().out
    trains = {n.split(".")[0] for n, p in net.cnn.named_parameters() if p.requires_grad}
    assert trains == {"blocks"} and not net.cnn.blocks[0].conv.weight.requires_grad
    assert MODELS.get("robustnet_mm.PlainTower") is None


def test_freezing_and_recomputing_save_what_the_page_says():
    names = run_page("memory")
    assert names["whole"] > names["frozen_vit"] > names["frozen_both"] > 0
    assert names["recomputed"] < names["plain"] / 2
