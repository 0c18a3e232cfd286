import hashlib
import os
import subprocess
import sys

import pytest
import torch
from bad_input import Calls
from helpers import least_runner
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from robustnet_mm.models import TimmCNNTower
from robustnet_mm.weights.downloads import fetch, fetch_weights
from robustnet_mm.weights.files import let_hosts_read_safely, read_checkpoint

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
        "import torch.distributed as d\nfrom robustnet_mm.weights.downloads import fetch_weights\n"
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


def test_a_file_at_an_address_is_fetched_anew_in_each_process_and_kept_by_its_hash(hub, tmp_path):
    remote, requests = hub
    remote.mkdir()
    (remote / "epoch_1.pth").write_bytes(b"one")
    address = os.environ["HF_ENDPOINT"] + "/epoch_1.pth"
    assert fetch(address).read_bytes() == b"one" == fetch(address).read_bytes()
    assert len([path for kind, path in requests if kind == "GET"]) == 1
    (remote / "epoch_1.pth").write_bytes(b"two")
    fetch.cache_clear()  # as another process
    assert fetch(address).read_bytes() == b"two"
    digest = hashlib.sha256(b"three").hexdigest()[:8]
    (remote / f"net-{digest}.pth").write_bytes(b"three")
    address = address.replace("epoch_1", f"net-{digest}")
    assert fetch(address) == tmp_path / f"home/hub/checkpoints/net-{digest}.pth"
    (remote / f"net-{digest}.pth").unlink()
    fetch.cache_clear()
    assert fetch(address).read_bytes() == b"three"


@pytest.mark.parametrize("name", ["net-01234567.pth", "net-20.pth", "net.pth"])
def test_a_file_that_is_not_the_one_of_its_name_is_read_and_not_kept(hub, tmp_path, name, logged):
    """As those are that mmengine publishes: their suffix is another sum."""
    remote, _ = hub
    remote.mkdir()
    (remote / name).write_bytes(b"another")
    assert fetch(os.environ["HF_ENDPOINT"] + f"/{name}").read_bytes() == b"another"
    assert not (tmp_path / f"home/hub/checkpoints/{name}").exists()
    assert any("not the file's hash" in line for line in logged) == ("01234567" in name)


def test_a_file_that_is_there_needs_no_place_to_write(hub, tmp_path):
    kept = tmp_path / "home/hub/checkpoints/net-01234567.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    kept.parent.chmod(0o500)
    assert fetch("http://127.0.0.1:9/net-01234567.pth") == kept
    kept.parent.chmod(0o700)


ADDRESSES = [
    ("nothing there", "{hub}/none.pth", ConnectionError, "404.*download .* by hand and name"),
    ("another storage", "s3://bucket/a.pth", ValueError, "must begin with one of http://"),
    ("no address", "https://[bad", ConnectionError, "could not be fetched .Invalid IPv6"),
    ("an unknown name", "torchvision://resnet51", ValueError, "mmengine knows no weights"),
    ("an unknown name", "openmmlab://resnet51", ValueError, "mmengine knows no weights"),
]


@pytest.mark.parametrize("what, address, kind, said", ADDRESSES)
def test_an_address_from_which_nothing_comes_is_named(hub, what, address, kind, said):
    with pytest.raises(kind, match=said):
        read_checkpoint(address.format(hub=os.environ["HF_ENDPOINT"]))


@pytest.fixture
def safely():
    """mmengine's own loaders come back afterwards."""
    schemes = CheckpointLoader._schemes
    let_hosts_read_safely()
    yield
    CheckpointLoader._schemes = schemes


@pytest.mark.parametrize("how", ["by path", "by address"])
def test_hosts_run_no_code_of_a_checkpoint_wherever_it_comes_from(hub, tmp_path, safely, how):
    remote, _ = hub
    remote.mkdir()
    made = tmp_path / "made"
    torch.save(dict(state_dict={}, meta=Calls(open, str(made), "w")), remote / "a.pth")
    place = str(remote / "a.pth") if how == "by path" else os.environ["HF_ENDPOINT"] + "/a.pth"
    module = BaseModule(init_cfg=dict(type="Pretrained", checkpoint=place))
    with pytest.raises(ValueError, match="holds pickled code .* and is refused"):
        module.init_weights()
    with pytest.raises(ValueError, match="holds pickled code"):
        least_runner(tmp_path / "work", 1).load_checkpoint(place)
    with pytest.raises(ValueError, match="holds pickled code"):
        least_runner(tmp_path / "work", 1).resume(place)
    assert not made.exists()
    torch.save(dict(state_dict={}), remote / "a.pth")
    fetch.cache_clear()
    module.init_weights()
