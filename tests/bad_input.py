"""What the tables of test_bad_input.py stand on: a user's data, config, files and tools."""

import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image

from robustnet_mm.datasets.loading import LoadImage
from robustnet_mm.engine.checks import check_config
from robustnet_mm.engine.hooks import CheckedImagesHook
from robustnet_mm.engine.launch import build_runner, read_config
from robustnet_mm.models import RobustNet
from robustnet_mm.weights import PretrainedTower
from robustnet_mm.weights.files import find_state_dict, read_checkpoint

DETECTOR = "configs/digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py"
CLASSIFIER = "configs/digit_scenes/robustnet-nano_5e_crops.py"
WORKS = None
WIDTH, HEIGHT = 64, 48
BOXES, MASKS = "model.roi_head.bbox_head", "model.roi_head.mask_head"


class Says(str):
    """A pattern of what is logged while it works."""


def ids(rows):
    return [row[0] for row in rows]


def table(rows):
    return pytest.mark.parametrize("what, do, expected", rows, ids=ids(rows))


def judge(run, expected, logged=()):
    """Run, and hold what comes against what is expected."""
    if expected is WORKS or isinstance(expected, Says):
        result = run()
        assert expected is WORKS or any(re.search(expected, text) for text in logged), logged
        return result
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        run()
    assert re.search(expected, str(caught.value)), str(caught.value)


class Own:
    """A user's own data and config: two images of two classes, masks and boxes."""

    def __init__(self, folder, base):
        self.folder, self.cfg = folder, deepcopy(config(base))
        self.names, self.files = ("cat", "dog"), {}
        for phase in ("train", "val", "test"):
            self.dataset(phase).data_root = str(folder)

    def dataset(self, phase="train"):
        return self.cfg[f"{phase}_dataloader"].dataset

    def set(self, **changes):
        """Changes as for --cfg-options, with '__' for '.'."""
        self.cfg.merge_from_dict({key.replace("__", "."): v for key, v in changes.items()})

    def list(self, lines: bytes):
        """Name a list of images and labels."""
        self.files["list.txt"] = lines
        self.set(train_dataloader__dataset__ann_file="list.txt")

    def write(self):
        for name, content in self.files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)


def picture(size=(WIDTH, HEIGHT), mode="RGB", kind="PNG", orientation=1) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    exif, out = Image.Exif(), io.BytesIO()
    exif[274] = orientation
    Image.fromarray(pixels).convert(mode).save(out, kind, exif=exif)
    return out.getvalue()


class Coco(Own):
    def __init__(self, folder):
        super().__init__(folder, DETECTOR)
        for phase in ("train", "val", "test"):
            self.dataset(phase).update(ann_file=f"{phase}.json", data_prefix=dict(img="images/"))
            self.dataset(phase).metainfo = dict(classes=self.names)
        self.set(model__roi_head__bbox_head__num_classes=2, model__backbone__init_cfg=None)
        self.set(
            model__roi_head__mask_head__num_classes=2,
            val_evaluator__ann_file=str(folder / "val.json"),
        )
        self.files = {f"images/{k}.png": picture() for k in (1, 2)}
        shape = dict(segmentation=[[8, 8, 40, 8, 40, 30, 8, 30]], bbox=[8, 8, 32, 22], area=704)
        self.boxes = [
            dict(id=10 * k + label, image_id=k, category_id=label, iscrowd=0, **deepcopy(shape))
            for k in (1, 2)
            for label in (1, 2)
        ]
        self.images = [dict(id=k, file_name=f"{k}.png", width=WIDTH, height=HEIGHT) for k in (1, 2)]
        self.categories = [dict(id=1, name="cat"), dict(id=2, name="dog")]
        self.text = None  # of the training's annotation file, instead of the three

    def each(self, *entries, **changes):
        for entry in entries or self.boxes:
            entry.update(changes)

    def drop(self, key):
        for box in self.boxes:
            box.pop(key)

    def write(self):
        content = dict(images=self.images, annotations=self.boxes, categories=self.categories)
        for name in ("train", "val"):
            self.files[f"{name}.json"] = json.dumps(content).encode()
        if self.text is not None:
            self.files["train.json"] = self.text
        super().write()


@cache
def config(path: str) -> Config:
    return Config.fromfile(ROOT / path)


@cache
def detector(with_mask: bool):
    cfg = config_of_coco()
    return build(cfg.model if with_mask else without_masks(cfg)).train()


def without_masks(cfg: Config) -> dict:
    cfg.model.type = "FasterRCNN"
    cfg.model.roi_head.update(mask_head=None, mask_roi_extractor=None)
    return cfg.model


def config_of_coco() -> Config:
    return Coco(ROOT).cfg  # nothing is written


def build(model: dict):
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build(model)


def train_a_step(own):
    """The samples as mmdet makes them, and their losses: finite, of three channels, 8 bits."""
    check_config(own.cfg, ("train", "val"))
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(own.dataset())
    samples = [dataset[k] for k in range(len(dataset))]
    assert samples and all(s["inputs"].shape[0] == 3 for s in samples)
    boxes = [s["data_samples"].gt_instances.bboxes.tensor for s in samples]
    assert all(each.isfinite().all() for each in boxes)
    model = detector(own.cfg.model.type == "MaskRCNN")
    losses = model(**model.data_preprocessor(pseudo_collate(samples), True), mode="loss")
    assert all(torch.stack([*v] if isinstance(v, list) else [v]).isfinite().all()
               for v in losses.values())  # fmt: skip
    return boxes


def read(content, tmp_path, **kwargs):
    (tmp_path / "a.png").write_bytes(content)
    return LoadImage(**kwargs)(dict(img_path=str(tmp_path / "a.png")))["img"]


def deep(kind="PNG", dtype=np.uint16) -> bytes:
    """A ramp of grey to the brightest of 16 bits."""
    out = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 64).reshape(8, 8).astype(dtype)).save(out, kind)
    return out.getvalue()


def hooked(hooks, split="train"):
    """The error of a truncated image in a training or test with these hooks."""

    def do(tmp_path):
        (tmp_path / "a.png").write_bytes(picture(kind="JPEG")[:1000])
        hook = CheckedImagesHook()
        dataset = SimpleNamespace(pipeline=SimpleNamespace(transforms=[LoadImageFromFile()]))
        loaders = {f"{split}_dataloader": SimpleNamespace(dataset=dataset)}
        getattr(hook, f"before_{split}")(SimpleNamespace(cfg=Config(hooks), **loaders))
        dataset.pipeline.transforms[0](dict(img_path=str(tmp_path / "a.png")))

    return do


def net(**changes):
    return RobustNet(**{"arch": "nano", **changes})


def file_from(network, tmp_path, prefix="", change=None, dtype=None, **training):
    """A checkpoint, and what a training keeps beside the weights."""
    weights = {f"{prefix}{key}": value for key, value in network.state_dict().items()}
    if change:
        weights[change] = torch.full_like(weights[change], float("nan"))
    if dtype:
        weights = {key: value.to(dtype) for key, value in weights.items()}
    content = dict(state_dict=weights, meta=dict(epoch=1, iter=9)) | training
    torch.save({key: value for key, value in content.items() if value is not None},
               tmp_path / "a.pth")  # fmt: skip
    return str(tmp_path / "a.pth")


def lying(name, content):
    """A file of this content is read as a checkpoint."""

    def do(tmp_path):
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            content(tmp_path / name)
        return find_state_dict(read_checkpoint(tmp_path / name))

    return do


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def saved(*made):
    """A checkpoint with something beside its weights."""
    return lambda path: torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=[*made]), path)


def under(key, prefix=""):
    """What a training keeps, with the weights under another key or another beginning."""
    weights = {f"{prefix}{name}": value for name, value in of_three_classes().state_dict().items()}
    return dict(state_dict=None) | {key: weights}


def in_itself(path):
    content = dict(a=torch.ones(1))
    content["state_dict"] = dict(model=content)
    torch.save(content, path)


def given(config="a = 1\nmodel = dict()", **arguments):
    """A tool reads a config and its command line."""

    def do(tmp_path):
        (tmp_path / "c.py").write_text(config)
        return read_config(tmp_path / "c.py", **arguments)

    return do


def start(module, prefix="backbone.", change=None, **source):
    """init_cfg of a file of a network of both directions."""

    def do(tmp_path):
        return PretrainedTower(file_from(net(**source), tmp_path, prefix, change))(module())

    return do


def tested(**changes):
    """tools/test.py takes the checkpoint of a detector of both directions and three classes."""

    def do(tmp_path):
        path = file_from(of_three_classes(), tmp_path)
        cfg = config_of_coco()
        cfg.merge_from_dict({BOXES + ".num_classes": 3, MASKS + ".num_classes": 3, **changes})
        runner = SimpleNamespace(
            model=build(cfg.model), cfg=cfg, logger=MMLogger.get_current_instance()
        )
        load_all = runpy.run_path(str(ROOT / "tools/test.py"))["load_all"]
        load_all(runner, torch.load(path), path)

    return do


def trained(change=None, dtype=None, training=None, place="{path}", source=None, **changes):
    """tools/train.py goes on with that checkpoint, or starts from it."""

    def do(tmp_path):
        cfg = config_of_coco()
        cfg.work_dir, cfg.launcher = str(tmp_path), "none"
        kept = dict(optimizer={}, message_hub={}, param_schedulers=[]) | (training or {})
        model = source() if source else of_three_classes()
        path = file_from(model, tmp_path, change=change, dtype=dtype, **kept)
        os.environ["HOME"] = str(tmp_path)
        cfg.load_from = place.format(path=path)
        cfg.merge_from_dict({BOXES + ".num_classes": 3, MASKS + ".num_classes": 3, **changes})
        build_runner(cfg, ())

    return do


@cache
def of_three_classes():
    cfg = config_of_coco()
    cfg.merge_from_dict({BOXES + ".num_classes": 3, MASKS + ".num_classes": 3})
    return build(cfg.model)


def cells(common, row):
    """The tool of studies, up to its first training."""

    def do(tmp_path, monkeypatch):
        values = dict(base=str(ROOT / CLASSIFIER), seeds=[0], metric="accuracy/top1")
        values |= dict(controls=["a"], common=common, grid=dict(row=dict(a=row)))
        path = tmp_path / "study.py"
        path.write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))
        monkeypatch.setattr(sys, "argv", ["study", str(path), "--work-dir", str(tmp_path / "out")])
        monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: sys.exit("it trains"))
        try:
            runpy.run_path(str(ROOT / "tools/analysis_tools/study.py"), run_name="__main__")
        except SystemExit as end:
            assert end.code == "it trains"

    return do


def interrupt(tool, moment, data, work):
    """Start a tool, press Ctrl-C at a line of its log: (status, what is said after it, before)."""
    command = [sys.executable, f"tools/{tool}.py", CLASSIFIER]
    command += [str(data / "a.pth")] if tool == "test" else []
    options = ["default_hooks.logger.interval=1", "train_cfg.val_interval=9"]
    for phase in ("train", "val", "test"):
        loader = f"{phase}_dataloader"
        options += [f"{loader}.dataset.data_root={data}", f"{loader}.dataset.data_prefix=crops"]
        options += [f"{loader}.batch_size=4"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["XDG_CACHE_HOME"] = str(work)  # where yapf, at its first start, writes its grammar
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    command += ["--work-dir", str(work), "--cfg-options", *options]
    # what starts the tests may ignore Ctrl-C, as a shell does for its background jobs
    listening = dict(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    run = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes, **listening)
    before = ""
    for line in run.stdout:
        before += line
        if re.search(moment, line):
            os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to its workers as well
            break
    after = run.communicate()[0]
    return run.returncode, after, before
