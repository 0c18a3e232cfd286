import numpy as np
import pytest
import torch
from bad_input import Calls
from mmengine.fileio import dump

from robustnet_mm.models import ConvTower
from robustnet_mm.weights import PretrainedTower
from robustnet_mm.weights.files import find_state_dict, read_checkpoint, read_results

W = {"a.weight": torch.ones(2), "b.bias": torch.zeros(1)}
OLD = {key: value - 7 for key, value in W.items()}


@pytest.mark.parametrize(
    "checkpoint",
    [
        W,
        {"model": W, "optimizer": {}, "epoch": 3},
        {"state_dict": {f"module.{k}": v for k, v in W.items()}},
        {"teacher": W, "student": OLD},
        {"state_dict": OLD, "state_dict_ema": W},  # timm
        {"model": OLD, "model_ema": {"n_averaged": torch.tensor(5)} | W},  # torchvision
        {"model_ema": {f"module.{k}": v for k, v in W.items()}, "model": OLD},
        {"state_dict": W, "ema_state_dict": OLD, "meta": {}},  # mmengine swaps the two
        {"module": {"model": {f"_orig_mod.module.{k}": v for k, v in W.items()}}},
    ],
)
def test_the_weights_are_found_within_every_wrapper_and_averaged_ones_are_meant(checkpoint):
    found = find_state_dict(checkpoint)
    assert found.keys() == W.keys() and all(torch.equal(found[k], W[k]) for k in W)


def test_a_choice_among_several_networks_is_said(logged):
    find_state_dict({"model": OLD, "model_ema": W})
    assert any("'model_ema', which is taken, and model" in line for line in logged)


def test_a_bin_file_is_read_as_any_other(tmp_path):
    torch.save(W, tmp_path / "pytorch_model.bin")
    assert read_checkpoint(tmp_path / "pytorch_model.bin").keys() == W.keys()


def test_pretrained_and_a_file_exclude_each_other_and_a_name_is_needed():
    with pytest.raises(ValueError, match="needs checkpoint='FILE' or pretrained=True, one of"):
        PretrainedTower()
    with pytest.raises(ValueError, match="one of them, got checkpoint='a.pth', pretrained=True"):
        PretrainedTower("a.pth", pretrained=True)
    with pytest.raises(ValueError, match="ConvTower has no model_name of timm's: name the weights"):
        PretrainedTower(pretrained=True)(ConvTower("nano"))


def test_predictions_are_read_as_the_hosts_write_them_and_run_no_code(tmp_path):
    box = torch.rand(2, 4)
    mask = dict(size=[4, 4], counts=b"\x8f\x00ab")
    kept = [dict(img_id=3, scale_factor=(0.5, np.float64(0.25)), boxes=box[:1], masks=[mask])]
    dump(kept, tmp_path / "a.pkl")
    (read,) = read_results(tmp_path / "a.pkl")
    assert torch.equal(read.pop("boxes"), box[:1])
    assert read == {key: value for key, value in kept[0].items() if key != "boxes"}
    made = tmp_path / "made"
    for hostile in (Calls(open, made, "w"), Calls(torch.load, made), Calls(eval, "1")):
        dump([dict(boxes=hostile)], tmp_path / "a.pkl")
        with pytest.raises(ValueError, match=r"a.pkl holds no predictions .*\(.*\): make them"):
            read_results(tmp_path / "a.pkl")
    assert not made.exists()
