import json
import shutil

import cv2
import pytest
import torch
from helpers import ROOT, close, open_exchanges
from mmengine.config import Config
from mmengine.runner import Runner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from robustnet_mm.datasets import make_digit_scenes
from robustnet_mm.engine.records import read_epochs
from robustnet_mm.models.probe import exchange_shares
from robustnet_mm.weights.files import read_checkpoint


def config(folder, epochs, **changes):
    cfg = Config.fromfile(ROOT / "configs/digit_scenes/robustnet-nano_5e_crops.py")
    cfg.work_dir = str(folder / "work")
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].dataset.data_root = f"{folder}/data/"
    cfg.train_cfg.max_epochs = epochs
    cfg.custom_hooks.append(dict(type="robustnet_mm.WeaveMonitorHook"))
    backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
    cfg.visualizer = dict(type="UniversalVisualizer", vis_backends=backends)
    cfg.experiment_name = f"{folder.name}{epochs}"
    cfg.merge_from_dict(changes)
    return cfg


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two epochs, and a third after a restart."""
    folder = tmp_path_factory.mktemp("monitor")
    make_digit_scenes(folder / "data", scenes=(2, 1), crops=(40, 10))
    first = Runner.from_cfg(config(folder, 2))
    open_exchanges(first.model.backbone)
    first.train()
    runner = Runner.from_cfg(config(folder, 3, resume=True))
    runner.train()
    return folder / "work", runner


def test_every_epoch_keeps_each_heads_accuracy_and_each_exchanges_state(trained):
    folder, runner = trained
    history = json.loads((folder / "weave/history.json").read_text())
    assert [record["epoch"] for record in history] == [1, 2, 3]
    names = {"accuracy/top1", "accuracy/top1_cnn", "accuracy/top1_vit"}
    assert all(names <= record["metrics"].keys() for record in history)
    last, net = history[-1]["exchanges"], runner.model.backbone
    assert list(last) == [f"{k}_{side}" for k in range(4) for side in ("squeeze", "expand")]
    for k, fiu in enumerate(net.fius):
        for side in ("squeeze", "expand"):
            part, found = getattr(fiu, side), last[f"{k}_{side}"]
            weight = part.linear.weight
            close(found["strength"], weight.norm(dim=1).mean() / weight.size(1) ** 0.5)
            close(found["weight"], weight.norm())
            assert sum(found["strength_histogram"][0]) == weight.size(0)
            assert sum(found["weight_histogram"][0]) == weight.numel()


def test_the_shares_are_those_of_the_first_validation_batch(trained):
    folder, runner = trained
    last = json.loads((folder / "weave/history.json").read_text())[-1]["exchanges"]
    batch = next(iter(runner.val_dataloader))
    images = runner.model.data_preprocessor(batch, False)["inputs"]
    for k, one in enumerate(exchange_shares(runner.model, images)):
        close(last[f"{k}_squeeze"]["share"], one.squeeze.share.mean(), runner.model)
        close(last[f"{k}_expand"]["share"], one.expand.share.mean(), runner.model)
        assert min(last[f"{k}_squeeze"]["share"], last[f"{k}_expand"]["share"]) > 0


def test_pictures_and_tensorboard_show_it(trained):
    folder, runner = trained
    for name in ("accuracy", "exchanges", "strength_histograms", "weight_histograms"):
        assert cv2.imread(str(folder / f"weave/{name}.png")).std() > 5
    history = json.loads((folder / "weave/history.json").read_text())
    (path,) = {p.parent for p in folder.rglob("events.out.*") if runner.timestamp in str(p)}
    events = EventAccumulator(str(path))
    events.Reload()
    (scalar,) = events.Scalars("weave/3_expand_strength")
    assert scalar.step == 3
    close(scalar.value, history[-1]["exchanges"]["3_expand"]["strength"])
    assert "weave/0_squeeze_weight" in events.Tags()["histograms"]


def test_watching_changes_no_weight(trained):
    folder, _ = trained

    def unwatched(epochs, **changes):
        cfg = config(folder.parent, epochs, work_dir=str(folder / "plain"), **changes)
        cfg.custom_hooks.pop()
        cfg.experiment_name += "plain"
        return Runner.from_cfg(cfg)

    first = unwatched(2)
    open_exchanges(first.model.backbone)
    first.train()
    second = unwatched(3, resume=True)
    second.train()
    watched = read_checkpoint(folder / "epoch_3.pth")["state_dict"]
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, watched[name]), name


def test_a_resumed_training_first_validates_what_it_starts_from(trained):
    """mmengine saves an epoch before it validates it, and may be killed in between."""
    folder = trained[0].parent / "killed"
    shutil.copytree(trained[0], folder)
    for path in folder.glob("*/vis_data/scalars.json"):
        kept = [line for line in path.read_text().splitlines() if '"step": 3' not in line]
        path.write_text("\n".join(kept))
    assert read_epochs(folder)[-1]["epoch"] == 2
    cfg = config(folder.parent, 3, work_dir=str(folder), resume=True, experiment_name="killed")
    cfg.custom_hooks = [dict(type="robustnet_mm.ValidateResumedHook")]
    Runner.from_cfg(cfg).train()
    last, whole = read_epochs(folder)[-1], read_epochs(trained[0])[-1]
    assert last["epoch"] == 3 and last["accuracy/top1_vit"] == whole["accuracy/top1_vit"]


def test_a_validation_alone_and_a_training_counted_in_iterations_are_shown_too(trained):
    folder = trained[0].parent
    cfg = config(folder, 1, work_dir=str(folder / "iterations"), experiment_name="iterations")
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=4, val_interval=2)
    cfg.param_scheduler, cfg.custom_hooks = None, cfg.custom_hooks[-1:]
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
    Runner.from_cfg(cfg).train()
    history = json.loads((folder / "iterations/weave/history.json").read_text())
    assert [record["epoch"] for record in history] == [2, 4]
    cfg = config(folder, 1, work_dir=str(folder / "val"), experiment_name="validation")
    Runner.from_cfg(cfg).val()
    (record,) = json.loads((folder / "val/weave/history.json").read_text())
    assert record["epoch"] == 0 and "accuracy/top1_vit" in record["metrics"]


def test_a_network_without_exchanges_is_refused_before_it_is_trained(tmp_path):
    make_digit_scenes(tmp_path / "data", scenes=(2, 1), crops=(10, 10))
    runner = Runner.from_cfg(config(tmp_path, 1, **{"model.backbone.direction": "none"}))
    with pytest.raises(ValueError, match="direction='none' makes no exchanges"):
        runner.train()
