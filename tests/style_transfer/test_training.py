"""The config's training by the Runner, small: snapshots, metrics, resume."""

import json
import os

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT, close, free_port
from mmengine.config import Config

from robustnet_mm.engine.launch import build_runner

CONFIG = ROOT / "configs/style_transfer/attention_mobilenetv2-deit-tiny_small.py"


@pytest.fixture
def config(tmp_path, monkeypatch):
    for name in ("contents", "styles"):
        (tmp_path / name).mkdir()
        for k in range(3):
            noise = np.random.default_rng(k).integers(0, 256, (40 + k, 56, 3), np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{k}.png"), cv2.GaussianBlur(noise, (9, 9), 0))
        for variable in (name.upper(), f"TEST_{name.upper()}"):
            monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("VGG_WEIGHTS", "random")

    def made(folder, iterations, **kwargs):
        cfg = Config.fromfile(CONFIG)
        loss = dict(content_layers=["relu2_1"], style_layers=["relu1_1", "relu2_1"])
        nano = dict(_delete_=True, type="robustnet_mm.RobustNet", arch="nano", data_norm=cfg.unit)
        sheet = dict(contents=2, styles=2, size=32, interval=2)
        cfg.merge_from_dict(
            {
                "model": dict(backbone=nano, width=32, loss=loss),
                "train_dataloader": dict(batch_size=2, dataset=dict(size=36, crop=32)),
                "val_dataloader.dataset.size": 32,
                "val_evaluator.loss": loss,
                "train_cfg": dict(max_iters=iterations, val_interval=4),
                "default_hooks": dict(logger=dict(interval=1), checkpoint=dict(interval=2)),
                "work_dir": str(tmp_path / folder),
                "launcher": "none",
                **kwargs,
            }
        )
        cfg.custom_hooks[-1].update(sheet)
        return cfg

    return made


def weights(runner):
    return torch.cat([p.detach().flatten() for p in runner.model.parameters()])


def test_a_resumed_training_ends_as_an_uninterrupted_one(config, tmp_path):
    whole = build_runner(config("whole", 4), ("train", "val"))
    whole.train()
    build_runner(config("halves", 2), ("train", "val")).train()
    rest = build_runner(config("halves", 4, resume=True), ("train", "val"))
    rest.train()
    assert rest.iter == 4 and torch.equal(weights(rest), weights(whole))
    (log,) = (tmp_path / "whole").glob("*/vis_data/scalars.json")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    (tested,) = [record for record in records if "vgg16/style" in record]
    assert {"vgg16/content", "vgg16/content_itself_style"} <= tested.keys()
    assert any("loss_identity_pixel" in record for record in records)
    sheets = sorted((tmp_path / "whole").glob("*/vis_data/vis_image/snapshot_*.png"))
    assert [path.name for path in sheets] == ["snapshot_2.png", "snapshot_4.png"]
    sheet = cv2.imread(str(sheets[1]))
    assert sheet.shape == (3 * 32 + 8, 3 * 32 + 8, 3)
    original = cv2.imread(str(tmp_path / "styles/0.png"))[:, 8:48]  # its middle, 40 x 40
    assert abs(sheet[:32, 36:68].mean() - original.mean()) < 0.009 * original.mean()


def half_of_a_test(rank, cfg, store):
    """One of two processes that share a test."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    found = build_runner(cfg, ("test",)).test()
    if rank == 0:
        store.write_text(json.dumps(found))


def test_a_test_by_two_processes_gives_what_one_gives(config, tmp_path, monkeypatch):
    alone = build_runner(config("one", 1), ("test",)).test()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    cfg = config("two", 1, launcher="pytorch", **{"env_cfg.dist_cfg.backend": "gloo"})
    arguments = (cfg, tmp_path / "found.json")
    torch.multiprocessing.start_processes(half_of_a_test, arguments, nprocs=2, start_method="fork")
    shared = json.loads((tmp_path / "found.json").read_text())
    assert shared.keys() == alone.keys() and alone["vgg16/style"] > 0
    for name, value in alone.items():
        close(shared[name], value)
