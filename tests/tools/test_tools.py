"""The tools as users call them, on a handful of generated scenes."""

import os
import pickle
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import ROOT, free_port
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.datasets import make_digit_scenes

DETECTOR = "configs/digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py"
CLASSIFIER = "configs/digit_scenes/robustnet-nano_5e_crops.py"
MAP = re.compile(r"coco/(bbox|segm)_mAP: (-?[\d.]+)")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_digit_scenes(
        tmp_path_factory.mktemp("digits") / "data", scenes=(8, 3), crops=(60, 10)
    )


def options(data, *more):
    loaders = [
        f"{split}_dataloader.dataset.data_root={data}/" for split in ("train", "val", "test")
    ]
    return ["--cfg-options", *loaders, "train_dataloader.batch_size=4", *more]


def det_options(data, *more):
    annotations = data / "annotations/instances_val.json"
    return options(
        data,
        f"val_evaluator.ann_file={annotations}",
        "model.backbone.init_cfg=None",
        f"test_evaluator.ann_file={annotations}",
        "default_hooks.logger.interval=1",
        "val_dataloader.batch_size=1",
        "test_dataloader.batch_size=1",
        *more,
    )


def environment():
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHON": sys.executable,
        "PORT": str(free_port()),
        "PYTHONPATH": str(ROOT),
    }


def run(*command):
    done = subprocess.run(
        [str(c) for c in command],
        cwd=ROOT,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def weights(path):
    return torch.load(path, weights_only=False)["state_dict"]


@pytest.fixture(scope="module")
def detector(data, tmp_path_factory) -> tuple[Path, str]:
    """Work dir and output of a detector trained for one epoch by two processes."""
    work_dir = tmp_path_factory.mktemp("detector")
    log = run(
        "tools/dist_train.sh",
        DETECTOR,
        2,
        "--work-dir",
        work_dir,
        *det_options(data, "train_cfg.max_epochs=1", "train_cfg.val_interval=1"),
    )
    return work_dir, log


def test_dist_train_runs_two_cpu_processes_with_eta_and_map(detector):
    work_dir, log = detector
    assert "eta:" in log and "Distributed launcher: pytorch" in log
    assert re.search(r"Epoch\(train\) +\[1\]\[1/1\]", log)  # 8 scenes, batches of 4 in each process
    assert {kind for kind, _ in MAP.findall(log)} == {"bbox", "segm"}
    assert all(v.isfinite().all() for v in weights(work_dir / "epoch_1.pth").values())


@pytest.fixture
def main(monkeypatch, capsys):
    """Run a tool in this process, where its errors arrive: what it says."""

    def start(tool, *arguments):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        monkeypatch.syspath_prepend(str((ROOT / "tools" / tool).parent))  # as Python does
        runpy.run_path(str(ROOT / "tools" / tool), run_name="__main__")
        return capsys.readouterr().out

    return start


def test_one_process_and_two_report_the_same_map_and_predictions_are_kept(
    detector, data, tmp_path, main
):
    checkpoint, one = detector[0] / "epoch_1.pth", tmp_path / "one"
    keep = ["--work-dir", one, "--out", tmp_path / "out.pkl", "--show-dir", "shown"]
    alone = main("test.py", DETECTOR, checkpoint, *keep, *det_options(data))
    two = run(
        "tools/dist_test.sh",
        DETECTOR,
        checkpoint,
        2,
        "--work-dir",
        tmp_path / "two",
        *det_options(data),
    )
    assert MAP.findall(alone) == MAP.findall(two) == MAP.findall(detector[1]) != []
    assert "Average Precision  (AP) @[ IoU=0.50:0.95" in alone
    assert len(pickle.loads((tmp_path / "out.pkl").read_bytes())) == 3
    assert len(list(one.rglob("shown/*"))) == 3


def test_flips_are_averaged_on_request(detector, data, tmp_path, main):
    arguments = [DETECTOR, detector[0] / "epoch_1.pth", "--tta", "--work-dir", tmp_path / "out"]
    said = main("test.py", *arguments, *det_options(data))
    assert [kind for kind, _ in MAP.findall(said)] == ["bbox", "segm"]


def test_a_config_with_averaged_weights_is_tested(detector, data, tmp_path, main):
    checkpoint, config = detector[0] / "epoch_1.pth", tmp_path / "ema.py"
    hooks = "custom_hooks = [dict(type='EMAHook')]"
    config.write_text(f"_base_ = {str(ROOT / DETECTOR)!r}\n{hooks}\n")
    arguments = [config, checkpoint, "--work-dir", tmp_path / "out", *det_options(data)]
    assert MAP.findall(main("test.py", *arguments)) == MAP.findall(detector[1])


def test_the_page_of_inference_runs_on_what_trainings_leave(
    detector, classifier, data, tmp_path, monkeypatch
):
    for name, folder, config in (
        ("detector", detector[0], DETECTOR),
        ("classifier", classifier[0], CLASSIFIER),
    ):
        shutil.copy(folder / Path(config).name, tmp_path / f"{name}.py")  # as the Runner saved it
        shutil.copy((folder / "last_checkpoint").read_text(), tmp_path / f"{name}.pth")
    for name, image in zip("ab", sorted((data / "scenes/val").iterdir()), strict=False):
        shutil.copy(image, tmp_path / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/inference.md").read_text()
    names = {}
    for heading in ("The hosts' inferencers", "In Python"):
        section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
        for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            DefaultScope._instance_dict.clear()  # each is a script of its own
            exec(code, names)  # noqa: S102
    found = names["found"]["predictions"]
    assert [len(one["bboxes"]) == len(one["masks"]) for one in found] == [True] * 2
    assert len(list(tmp_path.rglob("predicted/vis/*.jpg"))) == 2
    assert names["sample"].pred_score.shape == (10,)
    assert names["trained"].classes == list("0123456789")


def test_a_checkpoint_of_other_classes_is_no_test_of_this_config(detector, data, tmp_path, main):
    more = ["model.roi_head.bbox_head.num_classes=7", "model.roi_head.mask_head.num_classes=7"]
    (tmp_path / "classes.txt").write_text("\n".join("0123456"))
    more += [f"test_dataloader.dataset.metainfo.classes={tmp_path}/classes.txt"]
    message = "of another shape: .*bbox_head.fc_cls.* heads of the file are for another number of c"
    with pytest.raises(ValueError, match=message):
        main(
            "test.py",
            DETECTOR,
            detector[0] / "epoch_1.pth",
            "--work-dir",
            tmp_path,
            *det_options(data, *more),
        )


def test_a_checkpoint_of_another_architecture_is_named(detector, data, tmp_path, main):
    with pytest.raises(
        ValueError, match="do not fit MaskRCNN, nothing was loaded: .*of another shape"
    ):
        main(
            "test.py",
            DETECTOR,
            detector[0] / "epoch_1.pth",
            "--work-dir",
            tmp_path,
            *det_options(
                data,
                "model.backbone.cnn.arch=resnet18",
                "model.backbone.weave=even",
                "model.neck.0.in_channels=[64,128,256,512]",
                "model.neck.1.in_channels=[64,128,256,512]",
            ),
        )


def test_wrong_arguments_are_named(tmp_path, main):
    with pytest.raises(FileNotFoundError, match="checkpoint no.pth does not exist"):
        main("test.py", DETECTOR, "no.pth")
    with pytest.raises(ValueError, match="--out must name a .pkl or .pickle file, got out.json"):
        main("test.py", DETECTOR, "no.pth", "--out", "out.json")
    for script in ("dist_train.sh", "dist_test.sh", "slurm_train.sh", "slurm_test.sh"):
        done = subprocess.run([ROOT / "tools" / script], capture_output=True, text=True)
        assert done.returncode == 2 and f"usage: tools/{script}" in done.stderr


def start_training(data, work_dir, *flags):
    more = ["train_cfg.max_epochs=2", "default_hooks.logger.interval=1", "param_scheduler.1.end=2"]
    command = [sys.executable, "tools/train.py", CLASSIFIER, "--work-dir", work_dir, *flags]
    return subprocess.Popen(
        [str(c) for c in [*command, "--auto-scale-lr", *options(data, *more)]],
        cwd=ROOT,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory) -> tuple[Path, str]:
    """Work dir and output of a classifier trained for two epochs."""
    work_dir = tmp_path_factory.mktemp("classifier")
    training = start_training(data, work_dir)
    log = training.communicate()[0]
    assert training.returncode == 0, log[-3000:]
    return work_dir, log


def test_a_training_killed_in_the_middle_of_an_epoch_resumes_to_the_same_weights(
    classifier, data, tmp_path
):
    killed = start_training(data, tmp_path)
    for line in killed.stdout:
        if re.search(r"Epoch\(train\) +\[2\]\[ *5/15\]", line):
            killed.send_signal(signal.SIGKILL)
            break
    killed.communicate()
    assert (tmp_path / "last_checkpoint").read_text().endswith("epoch_1.pth")
    log = start_training(data, tmp_path, "--resume").communicate()[0]
    assert "resumed epoch: 1, iter: 15" in log, log[-3000:]
    assert "accuracy/top1_cnn" in log and "accuracy/top1_vit" in log
    first, second = (weights(folder / "epoch_2.pth") for folder in (classifier[0], tmp_path))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


IN_TURN = """
import runpy, sys
import torch
from robustnet_mm.engine import launch
folder, options = sys.argv[1], sys.argv[2:]
finish, launch.finish = launch.finish, torch.distributed.barrier  # the first would end it all
for name in ("whole", "sharded"):
    sys.argv = ["train.py", f"{{folder}}/{{name}}.py", "--work-dir", f"{{folder}}/{{name}}"]
    sys.argv += ["--launcher", "pytorch", *options]
    runpy.run_path({tool!r}, run_name="__main__")
finish()
"""


def test_a_sharded_training_gives_the_weights_of_an_unsharded_one(data, tmp_path):
    """The strategy of the base-patch14 config, on two CPU processes and a small classifier."""
    sharded = Config.fromfile(ROOT / "configs/imagenet/robustnet-base-patch14_fsdp_20e_in1k.py")
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        start = MODELS.build(Config.fromfile(ROOT / CLASSIFIER).model).state_dict()
    torch.save(dict(state_dict=start), tmp_path / "start.pth")
    more = ["train_cfg.max_epochs=1", "default_hooks.logger.interval=1"]
    more.append(f"load_from={tmp_path}/start.pth")
    for name in ("whole", "sharded"):
        config = f"_base_ = {str(ROOT / CLASSIFIER)!r}\n"
        if name == "sharded":
            config += f"runner_type = {sharded.runner_type!r}\n"
            config += f"strategy = {sharded.strategy.to_dict()!r}\n"
        (tmp_path / f"{name}.py").write_text(config)
    (tmp_path / "both.py").write_text(IN_TURN.format(tool=str(ROOT / "tools/train.py")))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    command += ["--standalone", tmp_path / "both.py", tmp_path, *options(data, *more)]
    log = run(*command)
    assert log.count("accuracy/top1_vit") == 2
    saved = [
        torch.load(tmp_path / name / "epoch_1.pth", weights_only=False)
        for name in ("whole", "sharded")
    ]
    whole, other = (one["state_dict"] for one in saved)
    assert whole.keys() == other.keys() == start.keys()
    # Adam steps as far where a gradient is rounding alone as elsewhere, so that single weights
    # may go either way: compared is how far all of them went
    names = [
        key for key, value in start.items() if value.is_floating_point() and "running" not in key
    ]
    moved, missed = (
        torch.cat([(a[key] - b[key]).flatten() for key in names]).norm()
        for a, b in ((whole, start), (whole, other))
    )

    assert moved > 0 and missed < 0.05 * moved
    decays = [
        [(g["weight_decay"], len(g["params"])) for g in one["optimizer"]["param_groups"]]
        for one in saved
    ]
    assert decays[0] == decays[1] and len(decays[0]) > 1


def test_a_classifiers_checkpoint_reports_every_tower_and_refuses_other_classes(
    classifier, data, tmp_path, main
):
    assert "Scaling the original LR by 0.125" in classifier[1]  # 4 of 32 images
    arguments = [CLASSIFIER, classifier[0] / "epoch_2.pth", "--work-dir", tmp_path / "out"]
    log = main("test.py", *arguments, "--tta", *options(data))
    assert re.search(r"accuracy/top1: .*accuracy/top1_cnn: .*accuracy/top1_vit: ", log)
    for digit in "0123456":
        shutil.copytree(data / "crops/val" / digit, tmp_path / "seven" / digit)
    seven = [f"test_dataloader.dataset.data_root={tmp_path}/seven", "model.head.num_classes=7"]
    seven += ["test_dataloader.dataset.data_prefix=", "model.data_preprocessor.num_classes=7"]
    with pytest.raises(ValueError, match=r"fc.bias \(10,\), here \(7,\).*config of these classes"):
        main("test.py", *arguments, *options(data, *seven))


def test_flops_of_vit_b_are_the_published_ones(main):
    """17.6 G multiply-adds for ViT-B/16 at 224 (DeiT, table 5); the paper's 103.5 M parameters."""
    config = "configs/imagenet/robustnet-small-patch16_20e_in1k.py"
    out = main("analysis_tools/get_flops.py", config)
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.count(".") > 1}
    assert float(rows["backbone.vit"][1]) == pytest.approx(17.6, abs=0.1)
    assert float(rows["all"][0]) == pytest.approx(103.5, abs=0.05)


def test_flops_of_several_networks_stand_beside_the_published_ones(main):
    configs = [f"configs/visual_tokens/{name}_90e_in1k.py" for name in ("resnet", "vt-resnet")]
    out = main("analysis_tools/get_flops.py", *configs, "--time", "--shape", "64", "80")
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| configs")]
    assert [row[1] for row in rows] == ["64 x 80"] * 2
    assert [float(row[2]) for row in rows] == [pytest.approx(n, abs=0.01) for n in (11.69, 11.43)]
    assert all(float(row[4]) > 0 for row in rows) and "11.6 M (table 2)" in rows[1][5]
