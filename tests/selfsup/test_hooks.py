"""The config of one's own folders, small, by the Runner: what the hook tells."""

import json

import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config

from robustnet_mm.engine.launch import build_runner
from robustnet_mm.registry import HOOKS
from robustnet_mm.selfsup.hooks import picture_of

CONFIG = ROOT / "configs/selfsup/barlowtwins_robustnet-nano_own-folders.py"


@pytest.fixture
def config(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for part, number in dict(train=4, val=2).items():
        for name, colour in dict(blue=(200, 20, 20), green=(20, 200, 20)).items():
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for k in range(number):
                noise = rng.integers(0, 50, (48, 64, 3)) + colour
                cv2.imwrite(str(folder / f"{k}.png"), noise.astype(np.uint8))
    for name, value in dict(
        DATA_ROOT=str(tmp_path / "data"), IMAGE_SIZE="32", EPOCHS="1", BATCH="4"
    ).items():
        monkeypatch.setenv(name, value)
    cfg = Config.fromfile(CONFIG)
    cfg.model.projector.update(hid_channels=16, out_channels=12)
    cfg.custom_hooks[-1].update(k=3, interval=1)
    cfg.model.backbone.vit = dict(drop_path_rate=0.5)  # draws at each step
    cfg.default_hooks.logger.interval = 1
    cfg.randomness = dict(seed=0)
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / "work"), launcher="none"))
    return cfg


def test_neighbours_matrix_and_rank_are_told_and_the_training_is_left_as_it_was(config, tmp_path):
    runner = build_runner(config, ("train",))
    runner.train()
    (log,) = (tmp_path / "work").glob("*/vis_data/scalars.json")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    first, told = [record for record in records if "representation/cnn_knn" in record]
    assert (first["step"], told["step"]) == (1, 2)
    assert told["representation/cnn_knn"] == 100  # colours are told apart by any network
    assert 1 <= told["representation/vit_rank"] <= 4
    assert any({"vit_diagonal", "loss_cnn"} <= record.keys() for record in records)
    folder = log.parent / "vis_image"
    pictures = [cv2.imread(str(folder / f"correlation_{name}_2.png")) for name in ("cnn", "vit")]
    assert all(picture.shape == (12, 12, 3) for picture in pictures)
    weights = torch.cat([p.detach().flatten() for p in runner.model.parameters()])
    config.custom_hooks.pop()
    config.work_dir = str(tmp_path / "without")
    other = build_runner(config, ("train",))
    other.train()
    assert torch.equal(torch.cat([p.detach().flatten() for p in other.model.parameters()]), weights)


def test_a_collapse_is_named(config, tmp_path):
    config.custom_hooks[-1].least_rank = 12.5
    build_runner(config, ("train",)).train()
    (log,) = (tmp_path / "work").glob("*/*.log")
    assert "vit has collapsed: its projections have an effective rank of" in log.read_text()


def test_colours_of_the_matrix():
    picture = picture_of(torch.tensor([[1.0, 0.0], [-1.0, 0.5]]))
    assert picture[0, 0].tolist() == [255, 0, 0] and picture[0, 1].tolist() == [255] * 3
    assert picture[1, 0].tolist() == [0, 0, 255] and picture[1, 1].tolist() == [255, 128, 128]


def test_neighbours_need_both_loaders():
    with pytest.raises(ValueError, match="memory and query must be two dataloaders or none"):
        HOOKS.build(dict(type="robustnet_mm.RepresentationHook", memory=dict(batch_size=1)))


def test_a_batch_of_one_is_named_before_anything_is_trained(config):
    config.train_dataloader.batch_size = 1
    with pytest.raises(ValueError, match="two images at least, got a batch of 1: set batch_size"):
        build_runner(config, ("train",)).train()
    model = build_runner(config, ("train",)).model
    with pytest.raises(ValueError, match="got a batch of 1"):  # and not BatchNorm's own message
        model.train()([torch.randn(1, 3, 32, 32)] * 2, mode="loss")
