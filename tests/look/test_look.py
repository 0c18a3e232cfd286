"""tools/analysis_tools/look.py as users call it, on nano networks and generated data."""

import re
import runpy
import subprocess
import sys
import weakref

import cv2
import numpy as np
import pytest
import torch
from helpers import CLASSIFIER, DETECTOR, ROOT, but_extended, close
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from robustnet_mm.look import Subject, find_images, stream

KINDS = [
    "saliency",
    "integrated-gradients",
    "guided-backprop",
    "cam",
    "attention",
    "significance",
    "receptive-field",
    "features",
    "gradients",
    "edges",
    "exchange",
    "predict",
    "compare",
]


def look(monkeypatch, kind, config, checkpoint, *arguments):
    """Run the tool in this process: its errors arrive here."""
    monkeypatch.chdir(ROOT)
    argv = ["look.py", kind, config, checkpoint, *arguments]
    monkeypatch.setattr(sys, "argv", [str(part) for part in argv])
    runpy.run_path(str(ROOT / "tools/analysis_tools/look.py"), run_name="__main__")


def few_modules(kind):
    """One of each tower: drawing takes the time; tests of the package ask for the default ones."""
    names = ["backbone.cnn.blocks.7", "backbone.vit.model.blocks.3"]
    return ["--modules", *names] if kind in ("features", "edges") else []


@pytest.mark.parametrize("kind", [*KINDS, "randomisation"])
def test_every_kind_draws_a_classifier(kind, data, checkpoints, tmp_path, monkeypatch):
    image = sorted((data / "crops/val").rglob("*.jpg"))[0]
    arguments = [image, "--out-dir", tmp_path, "--arrays", *few_modules(kind)]
    look(monkeypatch, kind, CLASSIFIER, checkpoints[CLASSIFIER], *arguments)
    (drawn,) = (tmp_path / kind).glob("*.png")
    assert cv2.imread(str(drawn)).std() > 5
    (arrays,) = (tmp_path / kind).glob("*.npz")
    assert len(np.load(arrays).files) > 1
    assert f"{kind}/{drawn.name}" in (tmp_path / "index.html").read_text()


AS_A_CLASSIFIER = ["integrated-gradients", "guided-backprop", "features", "edges", "exchange"]


@pytest.mark.parametrize("kind", but_extended(KINDS, AS_A_CLASSIFIER))
def test_every_kind_draws_a_detector(kind, data, checkpoints, tmp_path, monkeypatch):
    options = ["--cfg-options", f"test_dataloader.dataset.data_root={data}/"]
    options.append("model.test_cfg.rcnn.score_thr=0.0")
    image = sorted((data / "scenes/val").glob("*.jpg"))[0]
    arguments = [image, "--out-dir", tmp_path, "--arrays", *options, *few_modules(kind)]
    inside = ("attention", "significance", "receptive-field", "features", "edges", "exchange")
    if kind not in inside:
        arguments += ["--score-thr", "0.0"]
    look(monkeypatch, kind, DETECTOR, checkpoints[DETECTOR], *arguments)
    (drawn,) = (tmp_path / kind).glob("*.png")
    assert cv2.imread(str(drawn)).std() > 5
    (arrays,) = (tmp_path / kind).glob("*.npz")
    if kind in ("saliency", "cam", "gradients"):
        assert len({name[0] for name in np.load(arrays).files}) == 3  # detections


def test_weights_of_a_series_are_drawn_and_every_file_is_checked(
    checkpoints, tmp_path, monkeypatch
):
    config = tmp_path / "shallow.py"  # each layer is a picture
    config.write_text(
        f"_base_ = {str(ROOT / CLASSIFIER)!r}\n"
        "model = dict(backbone=dict(weave=[(0, 0)], vit=dict(model_args=dict(depth=1))))\n"
    )
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        state = ROOT_MODELS.build(Config.fromfile(config).model).state_dict()
    for name, times in (("first", 1), ("second", 2)):
        scaled = {key: times * value for key, value in state.items()}
        torch.save(dict(state_dict=scaled), tmp_path / f"{name}.pth")
    first = tmp_path / "first.pth"
    arguments = [tmp_path / "second.pth", "--out-dir", tmp_path, "--arrays"]
    look(monkeypatch, "weights", config, first, *arguments)
    pages = sorted((tmp_path / "weights").glob("*.npz"))
    layers = [name for page in pages for name in np.load(page).files]
    weights = [k for k, v in state.items() if v.numel() > 1 and ".running_" not in k]
    assert sorted(layers) == sorted(f"{k}.{part}" for k in weights for part in ("edges", "shares"))
    with pytest.raises(ValueError, match="do not fit ImageClassifier, nothing was loaded"):
        arguments = [checkpoints[DETECTOR], "--out-dir", tmp_path]
        look(monkeypatch, "weights", config, first, *arguments)


def test_files_that_cannot_be_read_are_skipped_counted_and_told_by_the_exit_code(
    data, checkpoints, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "images"
    folder.mkdir()
    whole = sorted((data / "crops/val").rglob("*.jpg"))[0].read_bytes()
    (folder / "a.jpg").write_bytes(whole)
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "c.png").write_bytes(b"")
    arguments = [folder, tmp_path / "none.jpg", "--out-dir", tmp_path / "out"]
    with pytest.raises(SystemExit) as end:
        look(monkeypatch, "predict", CLASSIFIER, checkpoints[CLASSIFIER], *arguments)
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert "skipped 3 image(s)" in told
    assert all(name in told for name in ("b.jpg", "c.png", "none.jpg")) and "a.jpg" not in told
    assert [path.name for path in (tmp_path / "out/predict").glob("*")] == ["a_0.png"]


def test_progress_is_shown_and_one_picture_is_alive_at_a_time(
    data, checkpoints, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "many"
    folder.mkdir()
    image = sorted((data / "crops/val").rglob("*.jpg"))[0].read_bytes()
    for index in range(200):
        (folder / f"{index:03d}.jpg").write_bytes(image)
    alive, most, read = weakref.WeakSet(), [], Subject.read

    class Watched(torch.Tensor):
        pass

    def watched(self, path):
        found = read(self, path)
        images = found.images.as_subclass(Watched)
        most.append(1 + len(alive))
        alive.add(images)
        return found._replace(images=images)

    monkeypatch.setattr(Subject, "read", watched)
    monkeypatch.setattr(
        "robustnet_mm.look.view_predict",
        lambda *a, score_thr=0, annotations=None: (np.zeros((20, 30, 3), np.uint8), {}),
    )
    arguments = [folder, "--out-dir", tmp_path / "out"]
    look(monkeypatch, "predict", CLASSIFIER, checkpoints[CLASSIFIER], *arguments)
    assert len(most) == 200 and max(most) == 1
    assert re.search(r"200/200, .* task/s", capsys.readouterr().err)


def test_the_stream_reads_an_image_when_it_is_asked_for(data, checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    subject, skipped = Subject(CLASSIFIER, str(checkpoints[CLASSIFIER])), []
    paths = find_images([str(data / "crops/val")])
    assert len(paths) == 10 and paths == sorted(paths)
    pictures = stream(subject, [paths[0], str(tmp_path / "none.jpg"), paths[1]], skipped)
    assert next(pictures).path == paths[0] and not skipped
    assert next(pictures).path == paths[1] and len(skipped) == 1
    assert not list(pictures)


def test_the_picture_is_what_the_model_sees(data, checkpoints, tmp_path, monkeypatch):
    """The test pipeline's size, RGB, and the padding that the preprocessor adds."""
    monkeypatch.chdir(ROOT)
    options = {"test_dataloader.dataset.pipeline.1.scale": (100, 100)}
    subject = Subject(DETECTOR, str(checkpoints[DETECTOR]), options)
    path = str(sorted((data / "scenes/val").glob("*.jpg"))[0])
    shown = subject.read(path)
    assert shown.pixels.shape == (100, 100, 3) and shown.images.shape == (1, 3, 128, 128)
    mean, std = (getattr(subject.model.data_preprocessor, key) for key in ("mean", "std"))
    seen = (shown.images[0] * std + mean)[:, :100, :100].permute(1, 2, 0).numpy()
    close(seen, shown.pixels, depth=2)
    file = cv2.resize(cv2.imread(path)[..., ::-1], (100, 100))
    assert np.abs(file.astype(int) - shown.pixels).mean() < 5
    assert shown.crop(np.zeros((1, 128, 128))).shape == (1, 100, 100)
    assert shown.crop(np.zeros((8, 8))).shape == (7, 7)
    assert subject.name(3) == "3" and subject.is_detector


def test_wrong_arguments_are_named(data, checkpoints, tmp_path, monkeypatch):
    image = sorted((data / "crops/val").rglob("*.jpg"))[0]
    right = (CLASSIFIER, checkpoints[CLASSIFIER], image, "--out-dir", tmp_path)
    cases = {
        r"^target must be a class in 0..9, got 10": ("saliency", *right, "--target", 10),
        r"got 'backbone.cnn.blocs.0'; close to it: backbone.cnn.blocks.0": (
            "features",
            *right,
            "--modules",
            "backbone.cnn.blocs.0",
        ),
        r"block must be in 0..3 .*got 7; closest: 2, 3": ("attention", *right, "--block", 7),
        r"point must be \(x, y\) with x in 0..63 .*got \(64, 1\)": (
            *("attention", *right, "--point"),
            *(64, 1),
        ),
        r"do not fit ImageClassifier, nothing was loaded": (
            *("cam", CLASSIFIER, checkpoints[DETECTOR], image, "--out-dir", tmp_path),
        ),
        r"^out_dir must be a folder that can be written": (
            *("cam", CLASSIFIER, checkpoints[CLASSIFIER], image, "--out-dir", image),
        ),
        r"^target is for classifiers": (
            *("cam", DETECTOR, checkpoints[DETECTOR], image, "--out-dir", tmp_path, "--target", 1),
        ),
        r"holds no images": ("cam", *right[:2], tmp_path, "--out-dir", tmp_path / "out"),
    }
    for message, arguments in cases.items():
        with pytest.raises(ValueError, match=message):
            look(monkeypatch, *arguments)


def test_attention_asks_for_a_vit_tower(data, tmp_path, monkeypatch):
    config = tmp_path / "resnet.py"
    config.write_text(
        f"_base_ = {str(ROOT / CLASSIFIER)!r}\n"
        "model = dict(backbone=dict(_delete_=True, type='ResNet', depth=18), "
        "neck=dict(type='GlobalAveragePooling'), "
        "head=dict(_delete_=True, type='LinearClsHead', num_classes=10, in_channels=512))\n"
    )
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        torch.save(ROOT_MODELS.build(cfg.model).state_dict(), tmp_path / "resnet.pth")
    image = sorted((data / "crops/val").rglob("*.jpg"))[0]
    arguments = (config, tmp_path / "resnet.pth", image, "--out-dir", tmp_path)
    with pytest.raises(ValueError, match="attention needs a backbone with a robustnet_mm.ViTTower"):
        look(monkeypatch, "attention", *arguments)
    for kind in ("saliency", "cam", "predict", "features"):  # what any model of the host can show
        look(monkeypatch, kind, *arguments)
        assert len(list((tmp_path / kind).glob("*.png"))) == 1


def test_importing_the_package_imports_nothing_that_only_pictures_need():
    heavy = "captum pytorch_grad_cam matplotlib.pyplot mmdet mmpretrain"
    code = (
        "import robustnet_mm, sys; assert 'torch' not in sys.modules; import robustnet_mm.look;"
        f"print([m for m in {heavy.split()} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.extended  # the other views of a classifier, on real weights
def test_the_composed_network_looks_at_a_photograph(real_data, tmp_path, monkeypatch):
    weights, images = real_data / "weights", real_data / "imagenet_samples_200"
    compose = ["--cnn", "mobilenetv2_100", "--cnn-weights", weights / "mobilenet_v2.pth"]
    compose += ["--vit", "deit_tiny_patch16_224"]
    compose += ["--vit-weights", weights / "deit_tiny_patch16_224.pth"]
    argv = ["compose.py", *compose, "--out", tmp_path / "pair.pth"]
    monkeypatch.setattr(sys, "argv", [str(part) for part in argv])
    runpy.run_path(str(ROOT / "tools/model_converters/compose.py"), run_name="__main__")
    image = images / "n01496331.jpg"
    arguments = (tmp_path / "pair.py", tmp_path / "pair.pth", image, "--out-dir", tmp_path)
    for kind in ("guided-backprop", "cam", "attention", "compare"):
        look(monkeypatch, kind, *arguments, "--arrays")
    scores = np.load(tmp_path / "compare/n01496331.npz")
    assert scores["both"].argmax() == 5  # a ray
    np.testing.assert_array_equal(scores["both"], scores["sum, exchanges closed"])  # not trained
    cams = np.load(tmp_path / "cam/n01496331.npz")
    assert cams["0_cnn_map"].any() and cams["0_vit_tokens"].any() and not cams["0_vit_map"].any()


def test_images_that_are_normalised_otherwise_than_the_backbone_is_told_are_refused(checkpoints):
    options = {"model.data_preprocessor.mean": [0, 0, 0]}
    with pytest.raises(ValueError, match="data_norm says mean=.*, but data_preprocessor has"):
        Subject(str(ROOT / CLASSIFIER), str(checkpoints[CLASSIFIER]), options)
