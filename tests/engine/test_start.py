import os
import shutil

import pytest
import torch
from helpers import classifier, least_runner
from mmengine.config import Config

from robustnet_mm.engine.checkpoints import find_newest
from robustnet_mm.engine.start import check_fit, read_start
from robustnet_mm.models import RobustNet


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished training of three epochs, and all of its checkpoints."""
    folder = tmp_path_factory.mktemp("trained") / "work"
    least_runner(folder, 3).train()
    return folder


@pytest.fixture
def work(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "work")  # with the times of its files


def point(work, text):
    (work / "last_checkpoint").write_text(text)


def newest(work, **checkpoint):
    return find_newest(dict(work_dir=str(work), default_hooks=dict(checkpoint=checkpoint)))


def test_the_checkpoint_that_was_written_last_is_found_without_a_word(work, logged):
    assert newest(work)[0] == work / "epoch_3.pth"  # copied: the pointer has the old folder
    point(work, str(work / "epoch_2.pth"))
    assert newest(work)[0] == work / "epoch_2.pth"  # someone wants this one
    assert not logged


POINTERS = [
    ("at nothing", lambda work: point(work, "/no/epoch_9.pth"), "epoch_9.pth, which is not there"),
    ("at garbage", lambda work: (work / "last_checkpoint").write_bytes(b"\xff\xfe/"), "not there"),
    ("at a folder", lambda work: point(work, ".."), "names ..,"),
    ("too long", lambda work: point(work, "x" * 5000), "not there"),
    ("beside a link to nothing", lambda work: (work / "epoch_9.pth").symlink_to("no")
     or point(work, ""), "names none"),
    ("empty", lambda work: point(work, ""), "names none"),
    ("no pointer", lambda work: (work / "last_checkpoint").unlink(), "names none"),
    ("at a cut file", lambda work: point(work, "epoch_4.pth"), "epoch_4.pth.*truncated"),
]  # fmt: skip


@pytest.mark.parametrize("what, spoil, said", POINTERS, ids=[row[0] for row in POINTERS])
def test_without_a_good_pointer_the_newest_whole_file_is_taken_and_said(
    what, spoil, said, work, logged
):
    whole = (work / "epoch_3.pth").read_bytes()
    (work / "epoch_4.pth").write_bytes(whole[: len(whole) // 2])
    spoil(work)
    path, content = newest(work)
    assert path == work / "epoch_3.pth" and content["meta"]["epoch"] == 3
    (line,) = logged
    assert f"--resume goes on from {path}, the newest whole checkpoint" in line
    assert all(word in line for word in said.split(".*"))


def test_a_pointer_that_lags_behind_is_overtaken(work, logged):
    point(work, str(work / "epoch_2.pth"))
    later = (work / "last_checkpoint").stat().st_mtime_ns + 1
    os.utime(work / "epoch_3.pth", ns=(later, later))
    assert newest(work)[0] == work / "epoch_3.pth"
    assert "names" in logged[0] and "epoch_2.pth" in logged[0]


def test_a_checkpoint_that_was_only_copied_again_does_not_overtake_the_pointer(work, logged):
    point(work, "epoch_3.pth")
    later = (work / "last_checkpoint").stat().st_mtime_ns + 1
    os.utime(work / "epoch_1.pth", ns=(later, later))
    assert newest(work)[0] == work / "epoch_3.pth" and not logged


def test_a_longer_training_before_in_the_same_folder_is_not_gone_on_with(work):
    shutil.copy(work / "epoch_3.pth", work / "epoch_12.pth")
    os.utime(work / "epoch_12.pth", ns=(0, 0))
    point(work, "epoch_2.pth")
    os.utime(work / "epoch_3.pth", ns=(0, 0))
    assert newest(work)[0] == work / "epoch_2.pth"
    (work / "epoch_2.pth").unlink()
    assert newest(work)[0] == work / "epoch_1.pth"


def test_checkpoints_are_found_where_and_under_what_name_the_config_puts_them(work, tmp_path):
    out = tmp_path / "out/work"
    out.mkdir(parents=True)
    for k in (1, 2):
        (work / f"epoch_{k}.pth").rename(out / f"ckpt{k:03d}.pth")
    (work / "epoch_3.pth").unlink()
    (work / "last_checkpoint").unlink()
    settings = dict(out_dir=str(out.parent), filename_tmpl="ckpt{:03d}.pth")
    assert newest(work, **settings)[0] == out / "ckpt002.pth"
    with pytest.raises(ValueError, match=r"of the names that this config gives, but \['ckpt001"):
        newest(work, out_dir=str(out.parent))


def test_no_whole_checkpoint_is_an_error_and_none_at_all_a_fresh_start(work, logged):
    for path in work.glob("*.pth"):
        path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match="no checkpoint in .*work is whole .*--resume PATH, or"):
        newest(work)
    cfg = Config(dict(resume=True, work_dir=str(work / "none")))
    assert read_start(cfg) is None and "starts anew" in logged[-1]
    assert not cfg.resume  # or mmengine looks again, and by the pointer alone


def test_a_finished_training_says_that_nothing_is_left_to_do(work, logged):
    cfg = Config(dict(resume=True, work_dir=str(work), train_cfg=dict(max_epochs=3)))
    assert read_start(cfg)["meta"]["epoch"] == 3 and cfg.load_from == str(work / "epoch_3.pth")
    assert "the training is finished, and nothing is left to do" in logged[-1]


def test_an_address_is_read_as_a_path_is(work, hub):
    """`load_from` and `resume` of an address are so held against the model, too."""
    remote, _ = hub
    shutil.copytree(work, remote)
    for resume in (False, True):
        address = os.environ["HF_ENDPOINT"] + "/epoch_2.pth"
        cfg = Config(dict(load_from=address, resume=resume, work_dir="none"))
        assert read_start(cfg)["meta"]["epoch"] == 2


class Model(torch.nn.Module):
    def __init__(self, arch="resnet18", **kwargs):
        super().__init__()
        self.backbone = RobustNet("nano", cnn=dict(arch=arch), **kwargs)


def test_a_start_from_another_architecture_is_named():
    weights = Model().state_dict()
    check_fit(Model(), dict(state_dict=weights))
    with pytest.raises(ValueError, match="of another architecture: .* of the .* tensors"):
        published = {k.removeprefix("backbone.cnn."): v for k, v in weights.items()}
        check_fit(Model("nano"), published)


def test_a_network_of_older_exchanges_is_refused_unless_its_form_is_named():
    model = classifier(form="gated")
    older = dict(state_dict=model.state_dict())
    with pytest.raises(ValueError, match="of another form: set model.backbone.form='gated'"):
        check_fit(classifier(), older)
    check_fit(model, older, resume=True)
    check_fit(classifier(direction="none"), older)
