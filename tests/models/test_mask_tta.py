"""Masks averaged over flips and scales of an image."""

import cv2
import numpy as np
import pytest
import torch
from helpers import DETECTOR, ROOT, close, open_exchanges
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.hosts import HOSTS

pytest.importorskip("mmdet")
KEYS = ("ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")


@pytest.fixture(scope="module")
def detector():
    """Not trained; it finds five objects in any image, two in three of them small."""
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / DETECTOR).model
    cfg.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg)
    open_exchanges(model.backbone)
    torch.nn.init.normal_(model.roi_head.mask_head.conv_logits.weight, std=0.2)
    return model.eval()


def averaged(detector, image, *views):
    """What the detector finds in an image, asked about some views of it: (flip, scale)."""
    steps = []
    for flip, scale in views:
        flipped = dict(type="RandomFlip", prob=float(bool(flip)), direction=flip or "horizontal")
        steps.append([dict(type="Resize", scale=scale, keep_ratio=True), flipped])
    with DefaultScope.overwrite_default_scope("mmdet"):
        size = dict(img_shape=image.shape[:2], ori_shape=image.shape[:2])
        pack = dict(type="PackDetInputs", meta_keys=KEYS)
        packed = [Compose([*each, pack])(dict(img=image, **size)) for each in steps]
        batch = {key: [[one[key]] for one in packed] for key in packed[0]}
        model = MODELS.build(dict(HOSTS["mmdet"].tta_mask_model, module=detector))
        (found,) = model.test_step(batch)
        (plain,) = detector.test_step(pseudo_collate(packed[:1]))
    return found.pred_instances, plain.pred_instances


@pytest.fixture
def image():
    noise = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(noise, (128, 96), interpolation=cv2.INTER_CUBIC)


def test_one_view_gives_what_the_detector_gives(detector, image):
    found, plain = averaged(detector, image, (None, (192, 192)))
    assert len(found) == len(plain) == 5 and found.masks.shape == (5, 96, 128)
    close(found.scores, plain.scores, detector)
    close(found.bboxes, plain.bboxes, detector)
    assert torch.equal(found.labels, plain.labels)
    assert (found.masks != plain.masks).float().mean() < 1e-3 and found.masks.any()


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_a_flipped_image_gives_flipped_objects(detector, image, direction):
    views = (None, (192, 192)), (direction, (192, 192))
    found, plain = averaged(detector, image, *views)
    code = dict(horizontal=1, vertical=0, diagonal=-1)[direction]
    turned, _ = averaged(detector, cv2.flip(image, code), *views)
    assert torch.equal(turned.labels, found.labels)
    close(turned.scores, found.scores, detector)
    dims = dict(horizontal=[-1], vertical=[-2], diagonal=[-2, -1])[direction]
    assert (turned.masks.flip(dims) != found.masks).float().mean() < 1e-3
    assert len(found) > len(plain)  # both views say something


def test_masks_of_all_views_are_averaged_as_probabilities(detector, image):
    head = detector.roi_head.mask_head
    given, taken = [], []
    handle = head.register_forward_hook(lambda *each: given.append(each[-1].sigmoid()))
    paste = head.predict_by_feat

    def spy(mask_preds, *args, **kwargs):
        taken.append(mask_preds[0])
        return paste(mask_preds, *args, **kwargs)

    head.predict_by_feat = spy
    try:
        views = (None, (192, 192)), (None, (128, 128)), ("horizontal", (160, 160))
        averaged(detector, image, *views)
    finally:
        handle.remove()
        del head.predict_by_feat
    first, second, third = given[:3]
    close(taken[0], (first + second + third.flip(-1)) / 3)


def test_an_image_without_objects_has_no_masks(detector, image, monkeypatch):
    monkeypatch.setitem(detector.roi_head.test_cfg, "score_thr", 1.1)
    found, _ = averaged(detector, image, (None, (192, 192)), ("horizontal", (192, 192)))
    assert len(found) == 0 and found.masks.shape == (0, 96, 128)


def test_a_detector_without_masks_is_refused():
    cfg = Config.fromfile(ROOT / DETECTOR).model
    cfg.roi_head.update(mask_head=None, mask_roi_extractor=None)
    message = "with a mask_head and no shared_head, got StandardRoIHead of MaskRCNN: test without"
    with DefaultScope.overwrite_default_scope("mmdet"):
        with pytest.raises(ValueError, match=message):
            MODELS.build(dict(type="robustnet_mm.MaskTTAModel", tta_cfg={}, module=cfg))
