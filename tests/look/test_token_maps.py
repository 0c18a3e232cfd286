"""Where visual tokens look: VT-ResNet's, and VT-FPN's in a segmentor."""

import numpy as np
import pytest
import torch
from helpers import ROOT, close
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.look import Subject, view_attention
from robustnet_mm.look.places import default_names
from robustnet_mm.look.token_maps import token_attention

CONFIG = ROOT / "configs/own_data/vt-resnet_own-folders.py"


def subject(config, folder, path, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ROOT", str(folder))
        patch.setenv("IMAGE_SIZE", "96")
        cfg = Config.fromfile(config)
        cfg.merge_from_dict(options)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), path)
        return Subject(str(config), str(path), options)


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vt.pth"
    return subject(CONFIG, data / "crops", path)


@pytest.fixture(scope="module")
def image(data):
    return sorted((data / "crops/val").rglob("*.jpg"))[0]


def test_each_token_of_each_module_is_drawn(classifier, image):
    panel, arrays = view_attention(classifier, image)
    assert panel.std() > 5
    assert list(arrays) == ["backbone.vt.0.tokenizer", "backbone.vt.1.tokenizer"]
    for maps in arrays.values():
        assert maps.shape == (16, 6, 6)
        close(maps.sum((1, 2)), np.ones(16))
    other, _ = view_attention(classifier, image, block=0)
    assert not np.array_equal(panel, other)


def test_what_is_shown_is_what_the_tokenizer_weighs_with(classifier, image):
    images, model = classifier.read(image).images, classifier.model
    with torch.no_grad():
        *_, feat = model.backbone.cnn(images)
        expected = model.backbone.vt[0].tokenizer(feat).attention[0]
    assert np.array_equal(token_attention(model, images)["backbone.vt.0.tokenizer"], expected)


def test_a_neck_of_tokens_is_shown_level_by_level(data, tmp_path):
    pytest.importorskip("mmseg")
    config = ROOT / "configs/own_data/vt-fpn_mobilenetv2_own-masks.py"
    scene = sorted((data / "scenes/val").glob("*.jpg"))[0]
    found = subject(config, data, tmp_path / "fpn.pth")
    _, arrays = view_attention(found, scene)
    assert [maps.shape for maps in arrays.values()] == [(8, side, side) for side in (24, 12, 6, 3)]


def test_what_cannot_be_shown_is_named(classifier, image, data, tmp_path):
    with pytest.raises(ValueError, match="point is for a ViT's patches, got .1, 2."):
        view_attention(classifier, image, point=(1, 2))
    with pytest.raises(ValueError, match=r"block must be in 0\.\.1 .*, got 7"):
        view_attention(classifier, image, block=7)
    options = {"model.backbone.tokenizer": "pooling"}
    pooled = subject(CONFIG, data / "crops", tmp_path / "pooled.pth", **options)
    with pytest.raises(ValueError, match=r"vt\.0\.tokenizer pools by place"):
        view_attention(pooled, image, block=0)
    assert list(view_attention(pooled, image)[1]) == ["backbone.vt.1.tokenizer"]


def test_the_resnet_inside_is_a_cnn_to_the_other_views(classifier):
    assert default_names(classifier.model)[0] == "backbone.cnn.model.layer1.0"
