import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from robustnet_mm.checkpoint import PretrainedTower
from robustnet_mm.models import TimmCNNTower
from robustnet_mm.weight_files import fetch_weights, find_state_dict, read_checkpoint

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


NAME = "resnet10t.c3_in1k"


def test_weights_are_downloaded_once_when_asked_for_and_load(hub, tmp_path):
    import timm

    remote, requests = hub
    (remote / "timm").mkdir(parents=True)
    theirs = timm.create_model(NAME)
    save_file(theirs.state_dict(), remote / "timm" / NAME)
    init = dict(type="robustnet_mm.PretrainedTower", pretrained=True)
    tower = TimmCNNTower(NAME, init_cfg=init)
    assert not requests  # nothing happens at construction
    tower.init_weights()
    assert torch.equal(tower.model.layer3[0].conv1.weight, theirs.layer3[0].conv1.weight)
    path = tmp_path / f"home/hub/checkpoints/{NAME}/model.safetensors"
    assert path.is_file() and ("GET", f"/timm/{NAME}/resolve/main/model.safetensors") in requests
    requests.clear()
    assert fetch_weights(NAME) == path and not requests


def test_without_a_network_the_error_says_which_file_to_put_where(hub, tmp_path):
    with pytest.raises(ConnectionError) as caught:
        fetch_weights(NAME)
    message = str(caught.value)
    assert f"get timm/{NAME}/model.safetensors of the Hugging Face hub and put it to" in message
    assert str(tmp_path / f"home/hub/checkpoints/{NAME}/model.safetensors") in message


def test_a_folder_that_cannot_be_written_is_named(hub, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(ConnectionError, match="Not a directory.*put it to .*file/hub/checkpoints"):
        fetch_weights(NAME)


def test_other_processes_wait_and_do_not_download(hub, monkeypatch):
    remote, requests = hub
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConnectionError, match="see the first process"):
        fetch_weights(NAME)
    assert not requests


def test_of_two_processes_one_downloads_and_both_find_the_file(hub, tmp_path):
    import timm

    remote, requests = hub
    (remote / "timm").mkdir(parents=True)
    save_file(timm.create_model(NAME).state_dict(), remote / "timm" / NAME)
    script = tmp_path / "fetch.py"
    script.write_text(
        "import torch.distributed as d\nfrom robustnet_mm.weight_files import fetch_weights\n"
        "d.init_process_group('gloo')\n"
        f"print(fetch_weights('{NAME}').stat().st_size, flush=True)\nd.barrier()\n"
        "import os; os._exit(0)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    command += ["--standalone", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    size = str((remote / "timm" / NAME).stat().st_size)
    assert done.stdout.count(size) == 2, done.stdout + done.stderr
    assert requests.count(("GET", f"/timm/{NAME}/resolve/main/model.safetensors")) == 1, requests


def test_a_name_without_weights_is_refused():
    with pytest.raises(ValueError, match="timm has no weights for 'convnext_atto_rms'.*list_pretr"):
        fetch_weights("convnext_atto_rms")


def test_pretrained_and_a_file_exclude_each_other_and_a_name_is_needed():
    with pytest.raises(ValueError, match="needs checkpoint='FILE' or pretrained=True, one of"):
        PretrainedTower()
    with pytest.raises(ValueError, match="one of them, got checkpoint='a.pth', pretrained=True"):
        PretrainedTower("a.pth", pretrained=True)
    from robustnet_mm.models import ConvTower

    with pytest.raises(ValueError, match="ConvTower has no model_name of timm's: name the weights"):
        PretrainedTower(pretrained=True)(ConvTower("nano"))
