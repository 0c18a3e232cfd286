"""Exported files equal the model at any size, say so, and refuse what they cannot do."""

import json
import re
import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
from helpers import (
    CLASSIFIER,
    DETECTOR,
    LEARNED,
    ROOT,
    but_extended,
    classifier,
    close,
    open_exchanges,
)
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from robustnet_mm.export import Part, export_onnx, export_program
from robustnet_mm.look import Subject
from robustnet_mm.models import RobustNet, fold_batchnorm

onnxruntime = pytest.importorskip("onnxruntime")
TOOL = str(ROOT / "tools/deployment/export.py")
SIZES = ((1, 224, 224), (3, 97, 131), (1, 64, 64))


def run_tool(*args):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", [TOOL, *map(str, args)])
        runpy.run_path(TOOL, run_name="__main__")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(folder with a config, its checkpoint and the file that the tool made of them)"""
    folder = tmp_path_factory.mktemp("export")
    config = folder / "config.py"
    config.write_text(
        f"""_base_ = {str(ROOT / CLASSIFIER)!r}
model = dict(head={LEARNED!r})
val_dataloader = dict(dataset=dict(data_root="", pipeline=[
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=256, backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]))
test_dataloader = val_dataloader
"""
    )
    torch.manual_seed(0)
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(cfg.model)
    open_exchanges(model.backbone)
    torch.nn.init.normal_(model.head.combine.offsets)
    torch.save(dict(state_dict=model.state_dict()), folder / "weights.pth")
    run_tool(config, folder / "weights.pth", "--out", folder / "classifier.onnx")
    return folder


def test_a_file_says_what_it_is_and_how_far_it_differs(exported):
    session = onnxruntime.InferenceSession(exported / "classifier.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["names"]) == ["cnn", "vit", "logits"]
    assert float(facts["largest_difference"]) < 1e-4 and len(json.loads(facts["sizes"])) == 10
    assert (facts["part"], facts["channels"]) == ("model", "RGB")
    assert json.loads(facts["mean"]) == [123.675, 116.28, 103.53]
    assert [o.name for o in session.get_outputs()] == ["cnn", "vit", "logits"]


def test_the_example_of_the_page_answers_as_the_config_does(exported, monkeypatch, capsys):
    image = np.random.default_rng(0).integers(0, 256, (190, 260, 3), dtype=np.uint8)
    cv2.imwrite(str(exported / "photo.png"), image)
    text = (ROOT / "docs/export.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.S)[1]
    assert len(example.strip().splitlines()) <= 24
    monkeypatch.chdir(exported)
    found = {}
    exec(example, found)
    subject = Subject(str(exported / "config.py"), str(exported / "weights.pth"))
    images = subject.read("photo.png").images
    assert np.array_equal(found["images"].shape, images.shape)
    close(found["images"], images)  # the preprocessing
    with torch.no_grad():
        expected = subject.model(images, mode="tensor").joint
    close(found["outputs"]["logits"], expected, subject.model)
    assert str(int(expected.argmax())) in capsys.readouterr().out


def test_an_image_smaller_than_a_patch_is_an_error_and_no_answer(exported):
    session = onnxruntime.InferenceSession(exported / "classifier.onnx")
    with pytest.raises(Exception, match="invalid index"):
        session.run(None, {"images": np.zeros((1, 3, 32, 15), np.float32)})


WINDOWS = dict(window_size=3, global_blocks=(3,))
PAIRS = {
    "windows": dict(arch="nano", vit=WINDOWS),
    "tokens": dict(arch="nano", form="tokens", fuse="attention"),
    "pyramid": dict(arch="nano", form="ungated", out_type="pyramid"),
    "patch14": dict(
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name="convnext_atto"),
        vit=dict(
            type="robustnet_mm.ViTTower",
            model_name="vit_small_patch14_reg4_dinov2",
            model_args=dict(depth=3, embed_dim=48, num_heads=3),
        ),
    ),
    "rotary": dict(
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name="efficientnet_b0"),
        vit=dict(
            type="robustnet_mm.ViTTower",
            model_name="vit_small_patch16_dinov3",
            model_args=dict(depth=2),
        ),
    ),
    "mobile": dict(
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name="mobilenetv2_100"),
        vit=dict(type="robustnet_mm.ViTTower", model_name="deit_tiny_patch16_224"),
    ),
    "swiglu": dict(
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name="regnety_002"),
        vit=dict(
            type="robustnet_mm.ViTTower",
            model_name="eva02_tiny_patch14_224",
            model_args=dict(depth=2),
        ),
    ),
    "resnet": dict(
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name="resnet18"),
        vit=dict(
            type="robustnet_mm.ViTTower",
            model_name="vit_base_patch16_siglip_224",
            model_args=dict(depth=3, embed_dim=48, num_heads=3),
        ),
    ),
}


@pytest.mark.parametrize("name", but_extended(list(PAIRS), list(PAIRS)))
def test_every_kind_of_backbone_exports(name, tmp_path):
    net = open_exchanges(RobustNet(**PAIRS[name])).eval()
    part = Part(net, "backbone")
    assert ("tokens" in part.names) == (name != "pyramid") and part.names[0] == "map_0"
    assert export_onnx(part, tmp_path / "net.onnx", sizes=SIZES) < 1e-4


def hosts_model(config, scope, change=None):
    cfg = Config.fromfile(ROOT / config)
    if change is not None:
        change(cfg.model)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
    open_exchanges(model.backbone)
    return model.eval()


@pytest.mark.extended
def test_a_detector_of_two_stages_goes_on_in_torch_after_its_neck(tmp_path):
    from mmdet.testing import demo_mm_inputs

    model = hosts_model(DETECTOR, "mmdet")
    with pytest.raises(ValueError, match="take part='neck'"):
        Part(model)
    part = Part(model, "neck")
    assert part.names == tuple(f"level_{k}" for k in range(4))
    export_onnx(part, tmp_path / "levels.onnx", sizes=SIZES)
    session = onnxruntime.InferenceSession(tmp_path / "levels.onnx")
    batch = demo_mm_inputs(2, [(3, 96, 128)] * 2, num_classes=10, with_mask=True)
    batch = model.data_preprocessor(batch, training=False)
    images, samples = batch["inputs"], batch["data_samples"]
    page = (ROOT / "docs/export.md").read_text()
    lines = re.findall(r"```python\n(.*?)```", page, re.S)[1]
    names = dict(torch=torch, session=session, images=images, model=model, samples=samples)
    with torch.no_grad():
        exec(lines, names)
        expected = model.predict(images, samples, rescale=True)
    for got, sample in zip(names["found"], expected, strict=True):
        close(got.bboxes, sample.pred_instances.bboxes, model)


@pytest.mark.extended
def test_a_detector_of_one_stage_and_a_segmentor_export_whole(tmp_path, own_data, monkeypatch):
    detector = Config.fromfile(ROOT / DETECTOR).model

    def weave(model):
        model.backbone, model.neck = detector.backbone, detector.neck
        model.neck[1].num_outs = 5
        model.bbox_head.update(in_channels=detector.neck[1].out_channels, feat_channels=64)

    outputs = ("cls_score", "bbox_pred", "centerness")
    for name, kinds in (("_base_/models/retinanet_r50_fpn", 2), ("atss/atss_r50_fpn_1x_coco", 3)):
        (tmp_path / "whole.py").write_text(f"_base_ = 'mmdet::{name}.py'\n")
        part = Part(hosts_model(tmp_path / "whole.py", "mmdet", weave))
        assert part.names == tuple(f"{n}_{k}" for n in outputs[:kinds] for k in range(5))
        export_onnx(part, tmp_path / f"{kinds}.onnx", sizes=SIZES)
    pytest.importorskip("mmseg")
    monkeypatch.setenv("DATA_ROOT", str(own_data))
    config = "configs/digit_scenes/segformer_robustnet-nano_digit-scenes.py"
    export_onnx(Part(hosts_model(config, "mmseg")), tmp_path / "seg.onnx", sizes=SIZES)


@pytest.mark.extended
def test_an_exported_program_is_written_read_and_equal(tmp_path):
    part = Part(classifier())
    fold_batchnorm(part)
    assert export_program(part, tmp_path / "net.pt2") < 1e-4
    images = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        got = torch.export.load(tmp_path / "net.pt2").module()(images)
        close(got, part(images), part)


class Branching(nn.Module):
    """Asks a question of its values, which no graph can hold."""

    def __init__(self):
        super().__init__()
        self.odd = nn.Conv2d(3, 4, 3)
        self.odd.register_forward_hook(lambda module, args, y: y if y.mean() > 0 else -y)

    def forward(self, images):
        return self.odd(images)


class Different(nn.Module):
    """Another network when it is exported."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return images * self.scale + float(torch.compiler.is_exporting())


def test_what_cannot_be_exported_is_named_with_its_module(tmp_path):
    with pytest.raises(ValueError, match=r"torch stopped in model\.odd \(.*take a smaller part"):
        export_onnx(Part(Branching()), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_would_differ_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="logits of the exported file differs by .* nothing was"):
        export_onnx(Part(Different()), tmp_path / "net.onnx", sizes=((1, 32, 32),))
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_named(tmp_path, capsys):
    with pytest.raises(ValueError, match="part must be one of backbone, neck, model, got 'head'"):
        Part(Different(), "head")
    with pytest.raises(ValueError, match="part='neck' needs a model with a neck"):
        Part(Different(), "neck")
    with pytest.raises(SystemExit):
        run_tool("config.py", "weights.pth", "--out", tmp_path / "net.bin")
    assert "must end in .onnx or .pt2" in capsys.readouterr().err
