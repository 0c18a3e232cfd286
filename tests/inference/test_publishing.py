"""A checkpoint as a folder to hand on, which loads back without the training's machine."""

import json
import re
from pathlib import Path

import pytest
import torch
from helpers import CLASSIFIER, ROOT, open_exchanges
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from safetensors import safe_open

from robustnet_mm.engine.trained import TrainedModel
from robustnet_mm.inference import load_published, publish
from robustnet_mm.inference.publishing import towers_of

TOWER = dict(type="robustnet_mm.PretrainedTower", checkpoint="/home/me/secret.pth")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work dir as a training leaves it: a checkpoint with its config, and a log."""
    folder = tmp_path_factory.mktemp("work")
    cfg = Config.fromfile(ROOT / CLASSIFIER)
    cfg.work_dir, cfg.load_from = str(folder), "/home/me/before.pth"
    vit = dict(model_name="vit_tiny_patch16_224")
    small = dict(depth=4, embed_dim=96, num_heads=3)
    cfg.model.backbone = dict(
        type="robustnet_mm.RobustNet",
        weave="even",
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name="resnet10t"),
        vit=dict(type="robustnet_mm.ViTTower", **vit, model_args=small, init_cfg=TOWER),
    )
    cfg.model.head.cnn = dict(in_channels=512)
    cfg.merge_from_dict({"train_dataloader.dataset.data_root": "/home/me/digits",
                         "test_dataloader.dataset.data_root": "/home/me/digits"})  # fmt: skip
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(cfg.model)
    open_exchanges(model.backbone)
    classes = tuple(f"class-{k}" for k in range(10))
    cfg.visualizer.save_dir = "/home/me/vis"
    cfg.test_dataloader.dataset.data_prefix = "home/me"  # no place of the machine
    meta = dict(cfg=cfg.pretty_text, epoch=2, iter=20, dataset_meta=dict(classes=classes))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / "epoch_2.pth")
    log = folder / "20260101_000000/vis_data"
    log.mkdir(parents=True)
    lines = [{"step": step, "accuracy/top1": 10.0 * step} for step in (*range(1, 4), 20)]
    (log / "scalars.json").write_text("\n".join(map(json.dumps, lines)))
    return folder, model


@pytest.fixture(scope="module")
def published(work, tmp_path_factory):
    out = tmp_path_factory.mktemp("published") / "pair"
    return publish(work[0] / "epoch_2.pth", out, data="Digits", license="apache-2.0")


def test_it_loads_back_by_one_call_with_every_weight(work, published):
    found, expected = load_published(published).state_dict(), work[1].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    assert sorted(path.name for path in published.iterdir()) == [
        "README.md", "config.py", "model.safetensors"]  # fmt: skip
    with safe_open(published / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(expected)


def test_the_config_names_nothing_of_the_machine_and_the_classes(published):
    text = (published / "config.py").read_text()
    assert "'/home/me" not in text and "data/digits" in text and "work_dir" not in text
    assert "data_prefix='home/me'" in text and "save_dir='vis'" in text
    trained = TrainedModel(str(published / "config.py"), str(published / "model.safetensors"))
    assert trained.classes[3] == "class-3"


def test_the_card_says_what_it_is(published):
    text = (published / "README.md").read_text()
    assert "| trained on | Digits |" in text and "| licence of these weights | apache-2.0 |" in text
    assert "| accuracy/top1 | 20 |" in text  # of this epoch
    assert "- vit: vit_tiny_patch16_224, from file `secret.pth`; licence: apache-2.0, if" in text
    assert "- cnn: resnet10t, from scratch or with the whole model" in text
    assert "10: class-0, class-1" in text and "- torch 2." in text
    assert re.search(r"sha256 of model.safetensors \| `[0-9a-f]{64}`", text)
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    names = {"model": None}
    exec(code.replace('"pair"', repr(str(published))), names)  # noqa: S102
    assert not names["model"].training


def test_code_in_a_checkpoint_is_not_run(work, tmp_path):
    content = torch.load(work[0] / "epoch_2.pth", weights_only=True)
    content["meta"]["cfg"] += f"\nopen({str(tmp_path / 'run')!r}, 'w')\n"
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="holds code, which is not run: name a config"):
        publish(tmp_path / "evil.pth", tmp_path / "out")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", ["robustnet-small-patch16_20e_in1k", "resnet50-deit-base_20e_in1k"]
)
def test_the_towers_of_every_config_have_a_line(name):
    lines = towers_of(Config.fromfile(ROOT / f"configs/imagenet/{name}.py")).splitlines()
    assert [line.split(":")[0] for line in lines] == ["- cnn", "- vit"]
    assert "None" not in "".join(lines) and all("licence: " in line for line in lines)


def test_what_is_not_known_is_said_to_be_unknown(work, tmp_path):
    content = torch.load(work[0] / "epoch_2.pth", weights_only=True)
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights/alone.pth"
    torch.save(dict(state_dict=content["state_dict"]), file)
    config = tmp_path / "config.py"
    config.write_text(content["meta"]["cfg"])
    text = (publish(file, tmp_path / "out", config=config) / "README.md").read_text()
    for name in ("licence of these weights", "classes"):
        assert f"| {name} | not stated |" in text
    assert "| trained on | CustomDataset (digits) |" in text and text.startswith("# config\n")
    assert "not stated: no log of a validation" in text and "of no training by mmengine" in text
    with pytest.raises(ValueError, match=r"carries no config: name it by --config FILE\.py"):
        publish(file, tmp_path / "other")
    with pytest.raises(ValueError, match="out must be an empty folder or a new one"):
        publish(file, tmp_path / "out", config=config)
    assert not Path(tmp_path / "other").exists()
