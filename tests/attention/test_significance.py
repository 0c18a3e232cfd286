"""The five numbers on cases made by hand, and over datasets with masks."""

import math

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from robustnet_mm.attention import (
    AttentionProbe,
    MeaningfulAttention,
    SignificanceMetric,
    TokenAttention,
    numbers_of,
    significance,
)
from robustnet_mm.attention.masks import default_foreground, foreground_of, patch_shares
from robustnet_mm.attention.reader import UniformAttention
from robustnet_mm.attention.significance import most

HALF = torch.zeros(4, 6)
HALF[:, :2] = 1  # a third of the image


def test_uniform_attention_gives_its_floors():
    found = numbers_of(torch.ones(2, 4, 6), HALF)
    assert found["concentration"].value == pytest.approx(0, abs=1e-6)
    assert found["foreground"].value == pytest.approx(1)
    assert found["diversity"].value == pytest.approx(0, abs=1e-6)
    assert found["jaccard_mean"].uniform == pytest.approx(0.2 / (0.6 + 1 / 3 - 0.2))


def test_attention_to_one_point_of_the_foreground():
    maps = torch.zeros(2, 4, 6)
    maps[0, 1, 1] = maps[1, 2, 0] = 5
    found = numbers_of(maps, HALF)
    assert found["concentration"].value == pytest.approx(1)
    assert found["foreground"].value == pytest.approx(3)  # all of it on a third
    assert found["jaccard_best"].value == pytest.approx(1 / 8)
    assert found["diversity"].value == pytest.approx(1)
    assert found["jaccard_best"].random == pytest.approx((1 / 72) / (1 / 24 + 1 / 3 - 1 / 72))


def test_the_mask_itself_is_the_best_attention():
    found = numbers_of(torch.stack([HALF, 1 - HALF]), HALF)
    assert found["jaccard_best"].value == pytest.approx(5 / 8)  # 60 % of it: five of eight patches
    assert found["jaccard_mean"].value == pytest.approx(5 / 16)
    whole = numbers_of(HALF[None], HALF)
    assert whole["foreground"].value == pytest.approx(3)
    assert math.isnan(whole["diversity"].value)  # one head


def test_without_a_mask_or_with_one_kind_of_pixel_nothing_is_said_of_it():
    maps = torch.rand(2, 4, 6)
    for foreground in (None, torch.zeros(4, 6), torch.ones(4, 6)):
        found = numbers_of(maps, foreground)
        assert math.isnan(found["foreground"].value) and math.isnan(found["jaccard_best"].random)
        assert not math.isnan(found["concentration"].value)


def test_patches_that_are_not_known_do_not_count():
    known = torch.ones(4, 6)
    known[:, 4:] = 0
    maps = torch.rand(2, 4, 6)
    other = maps.clone()
    other[:, :, 4:] = 9
    found = numbers_of(other, HALF, known)
    for name, number in numbers_of(maps, HALF, known).items():
        assert found[name] == pytest.approx(number, nan_ok=True)
    one = torch.zeros(4, 6)
    for few in (one, one + (torch.arange(24).view(4, 6) == 7)):
        found = significance(attention_to_neighbours((4, 6)), HALF, few)
        assert all(math.isnan(number.value) for number in found.values())
    with pytest.raises(ValueError, match=r"foreground must be \(h, w\) of the maps"):
        numbers_of(maps, HALF[1:])


def test_the_fewest_patches_that_hold_the_mass():
    maps = torch.tensor([[0.1, 0.5, 0.3, 0.1], [0.25, 0.25, 0.25, 0.25]])
    assert most(maps, 0.6)[0].tolist() == [False, True, True, False]
    assert most(maps, 0.5)[1].sum() == 2


def attention_to_neighbours(grid, kind=TokenAttention):
    """Each patch attends to itself alone; the class token to the first patch."""
    number = grid[0] * grid[1]
    matrix = torch.zeros(1, 2, 1 + number, 1 + number)
    matrix[..., 0, 1] = 1
    matrix[..., 1:, 1:] = torch.eye(number)
    return kind([lambda rows: matrix[:, :, rows]], 1, grid)


def test_locality_of_attention_to_itself_and_to_all():
    found = significance(attention_to_neighbours((4, 6)), HALF)["locality"]
    assert found.value == pytest.approx(1)
    # 3 x 3 around each of 24 patches, cut at the borders: (4*3 - 2) * (6*3 - 2) pairs
    assert found.uniform == pytest.approx(10 * 16 / 24**2)


def test_shares_of_patches_are_those_of_pixels():
    foreground, known = torch.zeros(20, 30).bool(), torch.ones(20, 30).bool()
    foreground[:8, :4] = True
    known[:, 20:24] = False
    of, all_known = patch_shares(foreground, known, (20, 30), (3, 4), (8, 8))
    assert of[0].tolist() == [0.5, 0, 0, 0] and of[1:].sum() == 0
    np.testing.assert_allclose(all_known[0], [1, 1, 0.5, 6 / 8])
    np.testing.assert_allclose(all_known[2], [0.5, 0.5, 0.25, 3 / 8])  # 4 rows of 8 are the image
    twice = patch_shares(
        *(m.repeat_interleave(2, 0) for m in (foreground, known)), (20, 30), (3, 4), (8, 8)
    )
    assert torch.equal(twice[0], of)  # masks of another size are scaled


def semantic(labels):
    labels = torch.as_tensor(labels)
    return BaseDataElement(
        gt_sem_seg=PixelData(data=labels[None]), metainfo=dict(img_shape=tuple(labels.shape))
    )


def test_ground_truth_of_both_kinds():
    labels = [[0, 1, 2], [255, 1, 0]]
    wanted, known = foreground_of(semantic(labels), [2])
    assert wanted.tolist() == [[False, False, True], [False] * 3] and known.sum() == 5
    assert default_foreground(("Background", "a", "b")) == [1, 2]
    assert default_foreground(("sky", "road")) is None and default_foreground(()) is None
    masks = np.zeros((2, 2, 3), np.uint8)
    masks[0, 0, 0] = masks[1, 1, 1] = 1
    crowd = np.ones((1, 2, 3), np.uint8)
    sample = BaseDataElement(
        gt_instances=InstanceData(masks=BitmapMasks(masks, 2, 3), labels=torch.tensor([0, 7])),
        ignored_instances=InstanceData(masks=BitmapMasks(crowd, 2, 3)),
    )
    wanted, known = foreground_of(sample)
    assert wanted.sum() == 2 and torch.equal(wanted, known)  # where a crowd is, only objects are
    assert foreground_of(sample, [7])[0].nonzero().tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="must have masks, got one without"):
        foreground_of(BaseDataElement())


def test_a_backbone_is_judged_over_a_dataset_image_by_image_whatever_the_batch():
    probe = AttentionProbe(dict(type="robustnet_mm.RobustNet", arch="nano")).eval()
    metric = SignificanceMetric(foreground=[1])
    for block in probe.backbone.vit.blocks:
        torch.nn.init.normal_(block.attn.qkv.weight)  # attention that is not nearly uniform
    rng = np.random.default_rng(0)
    images = torch.randn(3, 3, 64, 96)
    images[1, :, 50:] = images[1, :, :, 40:] = 0  # padding
    labels = [rng.integers(0, 2, size) for size in ((64, 96), (50, 40))]
    samples = [*map(semantic, labels), semantic(np.full((64, 96), 255))]  # the last knows nothing
    metric.process({}, probe(images, samples, "predict"))
    told = metric.evaluate(size=3)
    alone = []
    for image, label in zip(images, labels, strict=False):
        height, width = label.shape
        with torch.no_grad():
            attention = probe(image[None, :, :height, :width])
        masks = torch.tensor(label == 1), torch.ones(height, width, dtype=torch.bool)
        shares = patch_shares(*masks, label.shape, attention.grid, (16, 16))
        alone.append(significance(attention, *shares))
    for name in alone[0]:
        mean = sum(found[name].value for found in alone) / 2
        assert told[f"significance/{name}"] == pytest.approx(mean, rel=1e-5)
    assert told["significance/concentration"] > 0.01
    with pytest.raises(ValueError, match="mode must be one of tensor, predict, got 'loss'"):
        probe(images, mode="loss")
    with pytest.raises(ValueError, match="foreground must name classes of a label map, got None"):
        SignificanceMetric().process({}, probe(images[:1], samples[:1], "predict"))


def test_the_loss_pulls_attention_to_the_foreground_and_else_to_few_places():
    loss = MeaningfulAttention()
    uniform = torch.ones(1, 2, 4, 6)
    assert float(loss(uniform, HALF[None])) == pytest.approx(math.log(3))
    assert float(loss(HALF.expand(1, 2, 4, 6), HALF[None])) == pytest.approx(0, abs=1e-6)
    assert float(loss(uniform)) == pytest.approx(2)  # no concentration, and heads alike
    points = torch.zeros(1, 2, 4, 6)
    points[0, 0, 1, 1] = points[0, 1, 2, 3] = 1
    assert float(loss(points)) == pytest.approx(0, abs=1e-5)
    assert float(loss(uniform, torch.zeros(1, 4, 6))) == 0  # no foreground: nothing to say
    known = torch.ones(1, 4, 6)
    known[..., 2:] = 0
    assert float(loss(uniform, HALF[None], known)) == 0  # all that is known is foreground
    maps = torch.rand(2, 3, 4, 6, requires_grad=True)
    loss(maps, HALF.expand(2, 4, 6)).backward()
    assert (maps.grad[:, :, :, :2] < 0).all() and (maps.grad[:, :, :, 2:] > 0).all()


def test_controls_are_judged_alike():
    found = significance(attention_to_neighbours((4, 6), UniformAttention), HALF)
    assert found["concentration"].value == pytest.approx(0, abs=1e-6)
    assert found["foreground"].value == pytest.approx(1)
    assert found["locality"].value == pytest.approx(found["locality"].uniform)
