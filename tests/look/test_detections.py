import json

import numpy as np
import pytest
import torch
from helpers import ROOT, apart, classifier, close, open_exchanges
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from robustnet_mm.look import (
    Annotations,
    DetectionLogits,
    Picture,
    cam,
    compare_detections,
    detect,
    exchange_gradients,
    saliency,
)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    cfg = Config.fromfile(
        ROOT / "configs/digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py"
    ).model
    cfg.test_cfg.rcnn.score_thr = 0.0
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = ROOT_MODELS.build(cfg).eval()
    open_exchanges(model.backbone)
    for linear in model.neck[0].linears:
        torch.nn.init.normal_(linear.weight, std=0.2)
    return model


@pytest.fixture
def shown(detector):
    from mmdet.structures import DetDataSample

    pixels = np.random.default_rng(0).integers(0, 255, (80, 96, 3), np.uint8)
    meta = dict(img_shape=(80, 96), ori_shape=(40, 48), scale_factor=(2.0, 2.0))
    image = torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1)
    batch = dict(inputs=[image], data_samples=[DetDataSample(metainfo=meta)])
    batch = detector.data_preprocessor(batch, False)
    return Picture("scenes/one.jpg", pixels, batch["inputs"], batch["data_samples"][0])


def test_detections_are_the_hosts_best_first_in_pixels_of_the_image_that_is_seen(detector, shown):
    found = detect(detector, shown, score_thr=0.0, most=7)
    assert found.boxes.shape == (7, 4) and found.masks.shape == (7, 80, 96)
    assert (np.diff(found.scores) <= 0).all()
    with torch.no_grad():
        (host,) = detector.predict(shown.images, [shown.sample.clone()], rescale=True)
    best = host.pred_instances.scores.argmax()
    close(found.boxes[0], 2 * host.pred_instances.bboxes[best])
    assert not len(detect(detector, shown, score_thr=1.1).boxes)


def test_the_logit_of_a_detection_is_that_of_its_class_in_its_box(detector, shown):
    boxes = torch.tensor([[8.0, 8, 40, 60], [30, 4, 90, 76]])
    function = DetectionLogits(detector, boxes, torch.tensor([3, 7]))
    head = detector.roi_head
    with torch.no_grad():
        found = function(shown.images)
        rois = torch.cat([torch.zeros(2, 1), boxes], 1)
        scores = head._bbox_forward(detector.extract_feat(shown.images), rois)["cls_score"]
    close(found, scores[[0, 1], [3, 7]][None])


def test_each_detection_has_its_own_saliency_cam_and_gradients(detector, shown):
    boxes = torch.tensor([[0.0, 0, 24, 24], [60, 44, 92, 76]])
    function = DetectionLogits(detector, boxes, torch.tensor([3, 3]))
    maps = [saliency(function, shown.images, target=k)[0] for k in (0, 1)]
    assert maps[0][:40, :48].mean() > 2 * maps[0][40:, 48:].mean()
    assert maps[1][40:, 48:].mean() > 2 * maps[1][:40, :48].mean()
    for layer in ("map", "tokens"):
        assert cam(function, shown.images, layer=layer, target=1).shape == (1, 96, 96)
    found = exchange_gradients(function, shown.images, target=0)
    assert all(values.any() for values in found.values())


def test_cnn_only_vit_only_and_both_are_compared(detector, shown):
    found = compare_detections(detector, shown, score_thr=0.0, most=5)
    assert list(found) == ["cnn only", "vit only", "both"]
    assert apart(found["cnn only"].scores, found["both"].scores)
    assert apart(found["vit only"].scores, found["both"].scores)
    np.testing.assert_array_equal(detect(detector, shown, 0.0, 5).scores, found["both"].scores)


def test_annotations_are_scaled_to_the_image_that_is_seen(shown, tmp_path):
    square = [[10, 10, 20, 10, 20, 30, 10, 30]]
    counts = dict(size=[40, 48], counts=[0, 40, 40 * 47])  # the first column, run by run
    objects = [
        dict(image_id=1, category_id=9, bbox=[10, 10, 10, 20], segmentation=square),
        dict(image_id=1, category_id=4, bbox=[0, 0, 1, 40], segmentation=counts),
        dict(image_id=1, category_id=5, bbox=[0, 0, 5, 5], segmentation=square),  # not a class
    ]
    content = dict(
        images=[dict(id=1, file_name="deep/one.jpg", height=40, width=48)],
        categories=[dict(id=i, name=n) for i, n in ((4, "cat"), (9, "dog"), (5, "emu"))],
        annotations=objects,
    )
    (tmp_path / "a.json").write_text(json.dumps(content))
    annotations = Annotations(str(tmp_path / "a.json"), ["dog", "cat"])
    found = annotations.of(shown)
    np.testing.assert_array_equal(found.boxes, [[20, 20, 40, 60], [0, 0, 2, 80]])
    assert found.labels.tolist() == [0, 1] and found.scores is None
    assert found.masks.shape == (2, 80, 96) and found.masks[0, 40, 30] and found.masks[1, 70, 1]
    assert (
        found.masks[0].sum() == pytest.approx(20 * 40, rel=0.1) and not found.masks[1, :, 2:].any()
    )
    assert annotations.of(shown._replace(path="other.jpg")) is None


def test_images_of_the_same_name_are_told_apart_by_their_folders(shown, tmp_path):
    images = [
        dict(id=k, file_name=f"{folder}/1.jpg", height=40, width=48)
        for k, folder in enumerate("ab")
    ]
    objects = [dict(image_id=1, category_id=1, bbox=[0, 0, 5, 5])]
    content = dict(images=images, categories=[dict(id=1, name="dog")], annotations=objects)
    (tmp_path / "a.json").write_text(json.dumps(content))
    annotations = Annotations(str(tmp_path / "a.json"), ["dog"])
    found = [annotations.of(shown._replace(path=f"data/{folder}/1.jpg")) for folder in "ab"]
    assert [len(one.boxes) for one in found] == [0, 1]
    assert annotations.of(shown._replace(path="elsewhere/1.jpg")) is None


def test_annotations_that_are_no_coco_file_are_named(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    for path in (tmp_path / "a.json", tmp_path / "none.json"):
        with pytest.raises(ValueError, match="annotations must be a COCO file that can be read"):
            Annotations(str(path), [])


def test_a_classifier_has_no_detections_to_explain():
    with pytest.raises(ValueError, match="got ImageClassifier: take a Faster, Mask or Cascade"):
        DetectionLogits(classifier(), torch.zeros(0, 4), torch.zeros(0))
