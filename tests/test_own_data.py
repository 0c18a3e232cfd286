"""docs/own-data.md on a tiny generated set: every command and every line of Python, in order."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import timm
import torch
from helpers import ROOT

from robustnet_mm.datasets import (
    coco_classes,
    folder_classes,
    make_digit_scenes,
    palette,
    positive,
    switched_on,
)

PAGE = (ROOT / "docs/own-data.md").read_text()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with the tools, an environment to activate, weights and data of ten classes."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("tools", "configs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv/bin").mkdir(parents=True)
    activate = f'export PATH="{Path(sys.executable).parent}:$PATH"\n'
    (folder / ".venv/bin/activate").write_text(activate)
    for name in ("mobilenetv2_100", "deit_tiny_patch16_224"):
        torch.save(timm.create_model(name).state_dict(), folder / f"{name}.pth")
    make_digit_scenes(folder / "made", scenes=(4, 2), crops=(20, 10))
    own, made = folder / "data/own", folder / "made"
    for part in (own / "images", own / "annotations"):
        part.mkdir(parents=True)
    for split in ("train", "val"):
        name = f"instances_{split}.json"
        content = json.loads((made / "annotations" / name).read_text())
        for image in content["images"]:
            file = made / "scenes" / split / image["file_name"]
            image["file_name"] = f"{split}-{file.name}"
            shutil.copy(file, own / "images" / image["file_name"])
        (own / "annotations" / name).write_text(json.dumps(content))
        shutil.copytree(made / "crops" / split, folder / "data/folders" / split)
    return folder


def run(folder, command, **env):
    env = dict(EPOCHS="1", IMAGE_SIZE="96", BATCH="2", OMP_NUM_THREADS="1", **env)
    weights = dict(CNN_WEIGHTS="mobilenetv2_100.pth", VIT_WEIGHTS="deit_tiny_patch16_224.pth")
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **weights, **env, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def blocks(heading):
    """The shell lines and the Python of a section."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    (shell,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return shell, code


def test_the_page_trains_goes_on_tests_and_predicts_in_coco_format(checkout):
    shell, code = blocks("Test, go on, predict")
    shell = shell.replace("IMAGE_SIZE=320", "IMAGE_SIZE=96")
    # whatever so little training finds, and a second epoch to go on with
    more = "--cfg-options model.test_cfg.rcnn.score_thr=0 model.test_cfg.rcnn.max_per_img=5"
    shell = re.sub(r"(python tools/[^#\n]*)", rf"\1 {more} ", shell)
    shell = re.sub(r"(--resume.*?) #", r"\1 train_cfg.max_epochs=2 #", shell)
    said = run(checkout, ["bash", "-ec", shell])
    work = checkout / "work_dirs/mask-rcnn_mobilenetv2-deit-tiny_own-coco"
    assert (work / "epoch_2.pth").is_file() and "resumed epoch: 1" in said
    assert "coco/segm_mAP" in said and "| category | mAP" in said
    assert list(work.glob("*/shown/*.png")) or list(work.glob("*/shown/*.jpg"))
    run(checkout, [sys.executable, "-c", code])
    assert len(list((checkout / "predictions/vis").iterdir())) == 6
    assert len(list((checkout / "predictions/preds").iterdir())) == 6
    meta = torch.load(work / "epoch_2.pth", weights_only=False)["meta"]["dataset_meta"]
    assert meta["classes"] == tuple("0123456789")


@pytest.mark.extended  # the same tools as in COCO format
def test_the_page_trains_tests_and_predicts_on_folders(checkout):
    shell, code = blocks("A folder of images for each class")
    said = run(checkout, ["bash", "-ec", shell])
    assert "accuracy/top1_vit" in said
    names = [
        line.split()[0]
        for line in run(checkout, [sys.executable, "-c", code]).splitlines()
        if re.fullmatch(r"\d \d\.\d+(e-\d+)?", line)
    ]
    assert len(names) == 10 and set(names) <= set("0123456789")
    assert cv2.imread(str(next((checkout / "predicted_classes").iterdir()))) is not None


def test_the_first_command_names_a_config_that_freezes_and_sizes_as_the_table_says(
    checkout, monkeypatch
):
    from mmengine.config import Config

    monkeypatch.chdir(checkout)
    for name, value in dict(FREEZE_VIT=1, IMAGE_SIZE=640, EPOCHS=3, BATCH=5).items():
        monkeypatch.setenv(name, str(value))
    config = re.search(r"CONFIG=(\S+)", PAGE)[1]
    cfg = Config.fromfile(config)
    assert cfg.model.backbone.vit.frozen_stages == 12
    assert cfg.model.roi_head.mask_head.num_classes == 10
    assert cfg.train_dataloader.batch_size == 5 and cfg.train_cfg.max_epochs == 3
    assert cfg.train_dataloader.dataset.pipeline[2].scale == (640, 640)
    assert cfg.model.backbone.cnn.init_cfg.pretrained is True


def coco(path, *names):
    categories = [dict(id=7 * k + 3, name=name) for k, name in enumerate(names)]
    path.write_text(
        f'{{"images": [], "annotations": [], "categories": {categories}}}'.replace("'", '"')
    )
    return path


def test_classes_stand_in_the_order_of_the_file_whatever_their_ids(tmp_path):
    assert coco_classes(coco(tmp_path / "a.json", "zebra", "ant")) == ("zebra", "ant")


@pytest.mark.parametrize(
    "names, message",
    [
        (("ant", "zebra"), "in the same order"),
        (("zebra",), "in the same order"),
        (("zebra", "zebra"), "twice zebra"),
        ((), "got none"),
    ],
)
def test_another_files_categories_must_be_the_same(tmp_path, names, message):
    first = coco(tmp_path / "a.json", "zebra", "ant")
    with pytest.raises(ValueError, match=message):
        coco_classes(first, coco(tmp_path / "b.json", *names))


def test_a_missing_file_or_folder_says_what_to_set(tmp_path):
    for function in (coco_classes, folder_classes):
        with pytest.raises(FileNotFoundError, match="set DATA_ROOT to your data's folder"):
            function(tmp_path / "nothing")


def test_folders_are_the_classes_and_must_agree(tmp_path):
    for name in ("train/b", "train/a", "val/a", "other/a", "other/b", "git/a", "git/.git"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.jpg").touch()
    assert folder_classes(tmp_path / "train", tmp_path / "other") == ("a", "b")
    with pytest.raises(ValueError, match="got others or none of: b"):
        folder_classes(tmp_path / "train", tmp_path / "val")
    with pytest.raises(ValueError, match="one folder of images for each class, got none"):
        folder_classes(tmp_path / "val/a")
    with pytest.raises(ValueError, match=r"own data: folder '\.git' in .*git' would be counted"):
        folder_classes(tmp_path / "git")


def test_a_class_needs_images_in_the_first_folder_the_trainings(tmp_path):
    for name in ("train/b", "train/a", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.jpg").touch()
    (tmp_path / "val/b/1.jpg").unlink()
    assert folder_classes(tmp_path / "train", tmp_path / "val") == ("a", "b")
    with pytest.raises(ValueError, match="class 'b' in .*val' has no images"):
        folder_classes(tmp_path / "val", tmp_path / "train")


@pytest.mark.parametrize("value", ["ten", "1e3", "0", "-1", "2.5"])
def test_a_setting_that_is_no_positive_number_is_named(value):
    with pytest.raises(ValueError, match=f"BATCH must be a whole number from 1 on, got '{value}'"):
        positive("BATCH", value)


def test_a_switch_is_0_or_1():
    assert switched_on("FREEZE_VIT", "1") and not switched_on("FREEZE_VIT", "0")
    with pytest.raises(ValueError, match="FREEZE_VIT must be one of 0, 1, got 'true'"):
        switched_on("FREEZE_VIT", "true")


@pytest.mark.parametrize(
    "categories, message",
    [
        ([dict(id=1)], "must have id, name, it lacks name"),
        (["cat"], "must have id, name"),
        ([dict(id=1, name=1)], "must have words for names, got 1"),
    ],
)
def test_categories_that_are_none_are_told(tmp_path, categories, message):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(dict(images=[], annotations=[], categories=categories)))
    with pytest.raises(ValueError, match=message):
        coco_classes(file)


def test_every_class_has_a_colour_of_its_own():
    colours = palette(tuple("abcdefghij") * 20)
    assert len(set(colours)) == 200 and all(0 <= c <= 255 for colour in colours for c in colour)
