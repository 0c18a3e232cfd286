import pytest
import torch
from mmengine.config import Config

from robustnet_mm.engine import launch


def test_the_command_line_wins_over_the_config_and_the_config_over_its_name(tmp_path):
    path = tmp_path / "small.py"
    path.write_text("a = dict(b=1)")
    assert launch.read_config(path).work_dir == "work_dirs/small"
    path.write_text("a = dict(b=1)\nwork_dir = 'mine'")
    cfg = launch.read_config(path, {"a.b": 2})
    assert (cfg.work_dir, cfg.a.b) == ("mine", 2)
    assert launch.read_config(path, work_dir="x").work_dir == "x"


def test_a_missing_config_is_named():
    with pytest.raises(FileNotFoundError, match="config c.py does not exist"):
        launch.read_config("c.py")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_amp_without_a_gpu_is_refused_with_the_way_out():
    cfg = Config(dict(optim_wrapper=dict(type="AmpOptimWrapper")))
    with pytest.raises(ValueError, match="needs a GPU, and none is visible: leave --amp out"):
        launch.build_runner(cfg, ("train",))


def with_preprocessor(preprocessor, **backbone):
    backbone = dict(type="robustnet_mm.RobustNet", arch="nano", **backbone)
    return Config(dict(model=dict(backbone=backbone), data_preprocessor=preprocessor))


def test_what_the_backbone_thinks_of_the_preprocessor_must_be_true():
    half = dict(mean=[127.5] * 3, std=[127.5] * 3)
    with pytest.raises(ValueError, match=r"data_norm says mean=\[123.675.*has mean=\[127.5"):
        launch.build_runner(with_preprocessor(dict(**half, to_rgb=True)), ())
    with pytest.raises(ValueError, match=r"data_norm says mean=\[123.675.*has mean=\[0.0"):
        launch.build_runner(with_preprocessor(dict(to_rgb=True)), ())
    with pytest.raises(ValueError, match="leaves the images in BGR and the towers read RGB"):
        launch.build_runner(with_preprocessor(half, data_norm=half), ())
    right = dict(**half, bgr_to_rgb=True)
    for done in (right, dict(type="robustnet_mm.SizedDataPreprocessor", preprocessor=right)):
        cfg = with_preprocessor(done, data_norm=half)
        cfg.load_from = "no.pth"
        with pytest.raises(FileNotFoundError, match="no.pth"):  # the next check
            launch.build_runner(cfg, ())


@pytest.mark.parametrize("resume", [True, False])
def test_a_missing_or_broken_start_is_named_before_anything_is_built(tmp_path, resume):
    cfg = Config(dict(load_from=str(tmp_path / "no.pth"), resume=resume, work_dir=str(tmp_path)))
    with pytest.raises(FileNotFoundError, match="no.pth does not exist"):
        launch.build_runner(cfg, ())
    (tmp_path / "no.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match="truncated or no checkpoint"):
        launch.build_runner(cfg, ())


def test_a_truncated_newest_checkpoint_is_named_on_resume(tmp_path):
    (tmp_path / "epoch_1.pth").write_bytes(b"PK\x03\x04 cut")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_1.pth"))
    with pytest.raises(ValueError, match="epoch_1.pth .*truncated or no checkpoint"):
        launch.build_runner(Config(dict(resume=True, work_dir=str(tmp_path))), ())


def test_missing_data_is_named_before_anything_is_built(tmp_path):
    data = dict(type="CocoDataset", data_root=str(tmp_path / "no"), data_prefix=dict(img="x"))
    cfg = Config(dict(train_dataloader=dict(dataset=data)))
    with pytest.raises(FileNotFoundError, match="data folder .*/no"):
        launch.build_runner(cfg, ("train",))


def test_a_test_needs_no_gpu_for_a_config_that_was_trained_under_amp(tmp_path):
    data = dict(type="CocoDataset", data_root=str(tmp_path / "no"), data_prefix=dict(img="x"))
    optim = dict(type="AmpOptimWrapper")
    cfg = Config(dict(optim_wrapper=optim, test_dataloader=dict(dataset=data)))
    with pytest.raises(FileNotFoundError, match="data folder .*/no"):  # the next check
        launch.build_runner(cfg, ("test",))
