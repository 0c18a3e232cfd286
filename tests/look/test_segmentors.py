"""A segmentor's label maps, and what is not asked of it."""

import numpy as np
import pytest
import torch
from helpers import ROOT, open_exchanges
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

pytest.importorskip("mmseg")
from robustnet_mm.look import (  # noqa: E402
    Subject,
    view_compare,
    view_predict,
    view_randomisation,
    view_receptive_field,
    view_saliency,
    view_significance,
)

CONFIG = ROOT / "configs/digit_scenes/segformer_robustnet-nano_digit-scenes.py"


@pytest.fixture(scope="module")
def subject(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "segmentor.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ROOT", str(data))
        patch.setenv("IMAGE_SIZE", "96")  # half of the scenes' own
        cfg = Config.fromfile(CONFIG)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope("mmseg"):
            model = MODELS.build(cfg.model)
        open_exchanges(model.backbone)
        torch.save(dict(state_dict=model.state_dict()), path)
        yield Subject(str(CONFIG), str(path))


@pytest.fixture(scope="module")
def scene(data):
    return sorted((data / "scenes/val").glob("*.jpg"))[0]


def test_labels_are_drawn_beside_the_ground_truth(subject, scene):
    panel, arrays = view_predict(subject, scene)
    assert panel.std() > 5
    assert arrays["labels"].shape == arrays["truth"].shape == (96, 96)
    assert arrays["labels"].max() <= 10 and 0 in arrays["truth"] and arrays["truth"].max() > 0


def test_an_image_from_elsewhere_has_no_ground_truth(subject, scene, tmp_path):
    other = tmp_path / "other.jpg"
    other.write_bytes(scene.read_bytes())
    assert "truth" not in view_predict(subject, other)[1]
    found = view_significance(subject, other)[1]
    assert np.isnan(found["foreground"]).all() and found["concentration"][0] > 0
    known = view_significance(subject, scene)[1]
    assert known["foreground"][0] > 0 and known["concentration"][0] == found["concentration"][0]
    none = view_significance(subject, scene, foreground=[200])[1]
    assert np.isnan(none["foreground"]).all()  # nothing of that class is there


def test_a_field_is_where_the_point_is(subject, scene):
    found = view_receptive_field(subject, scene, point=(20, 70))[1]
    for tower in ("cnn", "vit"):
        assert found[tower].shape == (96, 96) and found[tower].sum() == pytest.approx(1)
        near = found[tower][54:86, 4:36].sum()
        assert near > 2 * 32 * 32 / 96**2  # far more than its share of the image
    edge = view_receptive_field(subject, scene, point=(95, 95))[1]["vit"]
    assert edge[80:, 80:].sum() > 2 * 16 * 16 / 96**2
    with pytest.raises(ValueError, match=r"x in 0..95 and y in 0..95, got \(96, 3\)"):
        view_receptive_field(subject, scene, point=(96, 3))


@pytest.mark.parametrize("view", [view_saliency, view_compare, view_randomisation])
def test_what_explains_a_class_is_refused(subject, scene, view):
    with pytest.raises(ValueError, match="got a segmentor, which names each pixel: take attention"):
        view(subject, scene)
