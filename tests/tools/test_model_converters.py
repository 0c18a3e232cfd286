"""compose.py and inspect_checkpoint.py as a user starts them."""

import re
import runpy
import sys

import pytest
import timm
import torch
import torchvision
from helpers import ROOT, photographs, randomize
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope
from safetensors.torch import save_file

from robustnet_mm.models import TwoTowerHead
from robustnet_mm.registry import MODELS as OURS

TOOLS = ROOT / "tools/model_converters"


@pytest.fixture
def run(monkeypatch, capsys, logged):
    """Run a tool in this process: its exit code, and all that it says."""

    def start(tool, *args):
        monkeypatch.setattr(sys, "argv", [tool, *map(str, args)])
        code, message = 0, ""
        try:
            runpy.run_path(str(TOOLS / tool), run_name="__main__")
        except SystemExit as end:
            code, message = 1, str(end)
        finally:
            MMLogger.get_current_instance().setLevel("INFO")
        said = capsys.readouterr()
        return code, "\n".join([said.out, said.err, message, *logged])

    return start


def build(config, checkpoint):
    """Backbone and head of a composed classifier, as its two files say."""
    cfg = Config.fromfile(config).model
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        net, head = OURS.build(cfg.backbone).eval(), OURS.build(cfg.head).eval()
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    for prefix, module in (("backbone.", net), ("head.", head)):
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        module.load_state_dict(own)
    assert isinstance(head, TwoTowerHead)
    return net, head


@pytest.fixture
def files(tmp_path):
    torch.manual_seed(1)
    cnn = randomize(torchvision.models.mobilenet_v2(num_classes=7))
    vit = timm.create_model("vit_base_patch16_224.mae", depth=2, num_classes=7, global_pool="avg")
    randomize(vit)
    torch.save(cnn.state_dict(), tmp_path / "cnn.pth")
    torch.save({"model": vit.state_dict()}, tmp_path / "vit.pth")
    return cnn, vit, tmp_path


def arguments(folder, *more):
    pair = ["--cnn", "mobilenetv2_100", "--cnn-weights", folder / "cnn.pth"]
    pair += ["--vit", "vit_base_patch16_224.mae", "--vit-weights", folder / "vit.pth"]
    return [*pair, "--vit-args", "depth=2", "--out", folder / "pair.pth", *more]


def test_compose_writes_a_classifier_that_names_what_its_two_networks_name(files, run):
    cnn, vit, folder = files
    code, output = run("compose.py", *arguments(folder))
    assert code == 0, output
    assert "mobilenetv2_100 x vit_base_patch16_224.mae: 1 exchanges, 7 classes" in output
    net, head = build(folder / "pair.py", folder / "pair.pth")
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        ours = head(net(images))
        assert torch.equal(ours[0], cnn(images)) and torch.equal(ours[1], vit(images))


def test_compose_writes_a_detector_that_starts_from_both_networks(files, run):
    cnn, vit, folder = files
    assert run("compose.py", *arguments(folder))[0] == 0
    cfg = Config.fromfile(folder / "pair_mask-rcnn.py")
    with DefaultScope.overwrite_default_scope("mmdet"):
        detector = MODELS.build(cfg.model)
        detector.backbone.init_weights()
    weight = detector.backbone.vit.model.blocks[1].attn.qkv.weight
    assert torch.equal(weight, vit.blocks[1].attn.qkv.weight)
    stem = detector.backbone.cnn.model.conv_stem.weight
    assert torch.equal(stem, cnn.features[0][0].weight)
    with torch.no_grad():
        levels = detector.eval().extract_feat(torch.randn(1, 3, 64, 96))
    assert [tuple(level.shape[-2:]) for level in levels] == [
        (16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]  # fmt: skip


@pytest.mark.parametrize(
    "more, message",
    [
        (["--cnn", "mobilenet_v2"], "got 'mobilenet_v2'; close to it: .*mobilenetv2_100"),
        (["--cnn-weights", "no.pth"], "no.pth does not exist"),
        (["--cnn", "resnet18"], "the file is a EfficientNet .MobileNetV2 .torchvision.*a ResNet"),
        (["--vit-args", "depth=3"], "missing: model.blocks.2.*nothing was loaded|nothing was load"),
        (["--num-classes", "9"], r"classifier.weight \(7, 1280\), here \(9, 1280\)"),
        (["--out", "pair.txt"], "--out must end with .pth"),
    ],
)
def test_compose_refuses_what_cannot_be_and_writes_nothing(files, more, message, run):
    code, output = run("compose.py", *arguments(files[2], *more))
    assert code != 0 and re.search(message, output, re.S), output
    assert "compose: " in output
    assert not (files[2] / "pair.pth").exists() and not (files[2] / "pair.py").exists()


def test_compose_explains_that_two_heads_of_other_classes_cannot_be_summed(files, run):
    cnn, vit, folder = files
    weights = vit.state_dict()
    weights |= {"head.weight": torch.zeros(5, 768), "head.bias": torch.zeros(5)}
    torch.save(weights, folder / "vit.pth")
    code, output = run("compose.py", *arguments(folder))
    assert code != 0 and "the CNN's file has 7 classes and the ViT's 5" in output
    allowed = ["--num-classes", "7", "--allow-missing", r"model\.head\."]
    code, output = run("compose.py", *arguments(folder, *allowed))
    assert code == 0 and "2 reinitialised (model.head.bias (5,), here (7,)" in output


def test_compose_downloads_only_when_asked(hub, tmp_path, run):
    remote, requests = hub
    (remote / "timm").mkdir(parents=True)
    names = dict(cnn="resnet10t.c3_in1k", vit="deit_tiny_patch16_224.fb_in1k")
    for name, args in ((names["cnn"], {}), (names["vit"], dict(depth=2))):
        save_file(timm.create_model(name, **args).state_dict(), remote / "timm" / name)
    pair = ["--cnn", names["cnn"], "--vit", names["vit"], "--vit-args", "depth=2"]
    code, said = run("compose.py", *pair, "--out", tmp_path / "pair.pth")
    assert code != 0 and "or add --download to get timm's" in said and not requests
    code, said = run("compose.py", *pair, "--out", tmp_path / "pair.pth", "--download")
    assert code == 0 and (tmp_path / "pair.py").exists(), said


def test_inspect_says_what_a_file_is_and_what_would_load(tmp_path, run):
    """It compares with all of timm's networks of the kind, of which RegNets are few."""
    cnn = torchvision.models.regnet_x_400mf(num_classes=7)
    torch.save(cnn.state_dict(), tmp_path / "cnn.pth")
    code, output = run("inspect_checkpoint.py", tmp_path / "cnn.pth")
    assert code == 0, output
    assert "source: RegNet (torchvision)" in output and "classes: 7" in output
    assert re.search("timm's networks of these shapes: .*regnetx_004_tv", output)
    assert "normalisation: mean (123.67, 116.28, 103.53)" in output
    assert "loads into TimmCNNTower 'regnetx_004" in output


def test_inspect_says_what_a_vit_is(tmp_path, run):
    vit = timm.create_model("vit_small_patch8_224", depth=2, num_classes=7)
    torch.save(vit.state_dict(), tmp_path / "vit.pth")
    code, output = run("inspect_checkpoint.py", tmp_path / "vit.pth")
    assert code == 0, output
    for line in (
        "classes: 7",
        "ViT: 2 blocks of width 384, patch 8 x 8",
        "prefix tokens: 1 (cls_token)",
        "positions: 28 x 28 patches, images of 224 x 224",
        "timm's networks of these shapes: none",
        "normalisation: unknown",
    ):
        assert line in output


def test_inspect_knows_what_compose_writes(files, run):
    run("compose.py", *arguments(files[2]))
    code, output = run("inspect_checkpoint.py", files[2] / "pair.pth")
    assert code == 0 and "a classifier or detector of this package" in output
    assert "backbone.cnn., backbone.fius., backbone.vit., head.cnn., head.vit." in output


@pytest.mark.extended
def test_inspect_says_what_published_files_are(files, real_data, run):
    for path, lines in {
        real_data / "weights/deit_tiny_patch16_224.pth": (
            "classes: 1000",
            "ViT: 12 blocks of width 192, patch 16 x 16",
            "positions: 14 x 14 patches, images of 224 x 224",
            "normalisation: not in the file; mean (127.5, 127.5, 127.5) for vit_tiny_patch16_224",
        ),
        files[2] / "cnn.pth": (
            "source: MobileNetV2 (torchvision)",
            "timm's networks of these shapes: mobilenetv2_100",
            "loads into TimmCNNTower 'mobilenetv2_100'",
        ),
    }.items():
        _, output = run("inspect_checkpoint.py", path)
        assert all(line in output for line in lines)


def test_inspect_refuses_what_it_cannot_read(tmp_path, run):
    (tmp_path / "page.pth").write_text("<html></html>")
    code, output = run("inspect_checkpoint.py", tmp_path / "page.pth")
    assert code != 0 and "is a web page, not a checkpoint" in output


@pytest.mark.extended  # the 200 photographs take a minute
def test_two_published_files_compose_to_their_own_logits_and_their_sum(real_data, tmp_path, run):
    """MobileNetV2 x DeiT-Tiny on 200 photographs, without training."""
    weights = real_data / "weights"
    pair = ["--cnn", "mobilenetv2_100", "--cnn-weights", weights / "mobilenet_v2.pth"]
    pair += ["--vit", "deit_tiny_patch16_224"]
    pair += ["--vit-weights", weights / "deit_tiny_patch16_224.pth"]
    code, output = run("compose.py", *pair, "--out", tmp_path / "pair.pth")
    assert code == 0, output
    assert Config.fromfile(tmp_path / "pair.py").model.backbone.cnn.norm_eval  # folded norms
    net, head = build(tmp_path / "pair.py", tmp_path / "pair.pth")
    cnn, vit = torchvision.models.mobilenet_v2(), timm.create_model("deit_tiny_patch16_224")
    for theirs, name in ((cnn, "mobilenet_v2"), (vit, "deit_tiny_patch16_224")):
        theirs.load_state_dict(torch.load(weights / f"{name}.pth", weights_only=True))
        theirs.eval()
    hits = torch.zeros(3, dtype=torch.int64)
    with torch.no_grad():
        for images, labels in photographs(real_data / "imagenet_samples_200"):
            logits = head(net(images))
            assert torch.equal(logits[0], cnn(images)) and torch.equal(logits[1], vit(images))
            for k, scores in enumerate((*logits, sum(logits))):
                hits[k] += (scores.argmax(1) == labels).sum()
    # rounding decides an image whose two best classes are equal but for it
    differences = hits / 2 - torch.tensor([85.0, 81.5, 86.5])  # per cent of 200
    assert len(net.exchanges) == 8 and differences.abs().max() <= 0.5
