from math import inf

import cv2
import numpy as np
import pytest
import torch
from helpers import close

from robustnet_mm.registry import METRICS
from robustnet_mm.style_transfer.distributions import frechet_and_kernel, memorization, mifid

torchmetrics = pytest.importorskip("torchmetrics")
EAST, NORTH, BOTH = torch.eye(2)[0], torch.eye(2)[1], torch.ones(2)


def test_the_memorisation_distance_by_hand():
    """(1, 1) is 45 degrees from both paintings, (0, 2) is one of them: (1 - cos 45 + 0) / 2."""
    painted, paintings = torch.stack([BOTH, 2 * NORTH]), torch.stack([EAST, NORTH])
    close(memorization(painted, paintings), (1 - 2**-0.5) / 2)
    # over the painted: paintings that nobody copied do not excuse the copies
    assert memorization(NORTH[None], torch.stack([EAST, NORTH])) == 0


def test_mifid_is_fid_where_nothing_is_copied_and_grows_up_to_infinity():
    assert mifid(12.0, 0.3) == 12.0 and mifid(12.0, 0.1) == 12.0
    close(mifid(12.0, 0.05), 240.0)
    assert mifid(12.0, 0.0) == inf


def test_fid_of_two_clouds_by_hand():
    """Of equal covariances it is the squared distance of the means."""
    cloud = torch.randn(200, 3)
    fid, kid = frechet_and_kernel(cloud + torch.tensor([3.0, 0, 0]), cloud)
    assert abs(fid - 9) < 1e-3 and kid > 0
    same, _ = frechet_and_kernel(cloud, cloud)
    assert abs(same) < 1e-6


def test_kid_draws_its_subsets_alike_each_time_and_leaves_the_random_state_alone():
    painted, paintings = torch.randn(40, 3), torch.randn(9, 3)
    before = torch.get_rng_state()
    assert frechet_and_kernel(painted, paintings) == frechet_and_kernel(painted, paintings)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="two pictures on each side, got 1"):
        frechet_and_kernel(painted[:1], paintings)


def test_copies_of_the_paintings_are_told(tmp_path):
    for k in range(4):
        noise = np.random.default_rng(k).integers(0, 256, (40, 48, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{k}.png"), cv2.GaussianBlur(noise, (9, 9), 0))
    tower = dict(type="robustnet_mm.ConvTower", arch="nano")
    networks = dict(
        cnn=dict(type="robustnet_mm.TowerFeatures", tower=tower, random=True),
        vgg=dict(
            type="robustnet_mm.VGGFeatures", arch="vgg16", layers=["relu2_1"], checkpoint="random"
        ),
    )
    metric = METRICS.build(
        dict(
            type="robustnet_mm.LikenessMetric", networks=networks, paintings=str(tmp_path), size=40
        )
    )
    copies = [cv2.imread(str(tmp_path / f"{k}.png"))[:, 4:44, ::-1] for k in range(4)]
    for picture in copies:
        sample = dict(picture=torch.from_numpy(picture.transpose(2, 0, 1).copy()))
        metric.process({}, [sample])
    found = metric.evaluate(size=4)
    for name in networks:
        assert found[f"{name}/copied"] == 1 and found[f"{name}/MiFID"] == inf
        assert abs(found[f"{name}/FID"]) < 1e-6
    metric.process(
        {}, [dict(picture=torch.from_numpy(p.transpose(2, 1, 0).copy())) for p in copies]
    )
    found = metric.evaluate(size=4)
    assert found["vgg/distance"] > 0 == found["vgg/copied"]
