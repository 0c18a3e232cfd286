"""The numbers of the field, counted by hand."""

import math

import pytest
from scipy import stats

from robustnet_mm.robustness import (
    Found,
    corruption_error,
    lead,
    markdown,
    performance_under_corruption,
    relative_corruption_error,
    relative_performance,
)

M = "accuracy/top1"


def network(clean, fog, snow, right=None):
    return Found(
        {M: clean},
        dict(fog={k: {M: v} for k, v in fog.items()}, snow={k: {M: v} for k, v in snow.items()}),
        right or {},
    )


OURS = network(80.0, {1: 70.0, 3: 50.0}, {1: 60.0, 3: 40.0})
BASE = network(60.0, {1: 50.0, 3: 20.0}, {1: 40.0, 3: 20.0})


def test_corruption_errors_are_means_of_ratios_and_not_ratios_of_means():
    # errors: ours 30 + 50 of fog, 40 + 60 of snow; base 50 + 80, 60 + 80
    assert corruption_error(OURS, BASE, M, M) == pytest.approx(100 * (80 / 130 + 100 / 140) / 2)
    # growth: ours 10 + 30, 20 + 40; base 10 + 40, 20 + 40
    assert relative_corruption_error(OURS, BASE, M, M) == pytest.approx(
        100 * (40 / 50 + 60 / 60) / 2
    )
    assert corruption_error(BASE, BASE, M, M) == relative_corruption_error(BASE, BASE, M, M) == 100


def test_performance_under_corruption_gives_each_corruption_the_same_weight():
    uneven = network(80.0, {1: 70.0, 3: 50.0}, {3: 40.0})
    assert performance_under_corruption(uneven, M) == pytest.approx((60 + 40) / 2)
    assert relative_performance(uneven, M) == pytest.approx(100 * 50 / 80)
    assert math.isnan(relative_performance(network(0.0, {1: 0.0}, {1: 0.0}), M))


def words(clean, *corrupted):
    names = ("fog", "snow")
    return {"top1": {"clean": {0: clean}, **{n: {1: w} for n, w in zip(names, corrupted)}}}  # noqa: B905


def test_a_lead_is_paired_image_by_image():
    ours = network(75.0, {1: 75.0}, {1: 50.0}, words("1110", "1101", "1100"))
    base = network(50.0, {1: 25.0}, {1: 25.0}, words("1100", "1000", "0100"))
    found = lead(ours, base, "top1", "top1")
    by_image = dict(clean=[0, 0, 100, 0], corrupted=[50, 50, 0, 50], loss=[-50, -50, 100, -50])
    for name, values in by_image.items():
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert found[name]["mean"] == pytest.approx(sum(values) / 4)
        assert found[name]["half"] == pytest.approx((high - low) / 2)
    assert "| +25.00 ± " in markdown(ours, {"other": (base, "")})


@pytest.mark.parametrize(
    "ours, base, message",
    [
        (network(80.0, {2: 60.0}, {1: 60.0}), BASE, r"not measured on fog of severity \[2\]"),
    ],
)
def test_a_base_must_have_the_same_corruptions(ours, base, message):
    with pytest.raises(ValueError, match=message):
        corruption_error(ours, base, M, M)


def test_a_base_that_loses_nothing_gives_no_number_and_all_others():
    base = network(60.0, {1: 60.0, 3: 60.0}, {1: 40.0, 3: 20.0}, words("1100", "1000", "0100"))
    ours = OURS._replace(right=base.right)
    assert math.isnan(relative_corruption_error(ours, base, M, M))
    assert corruption_error(ours, base, M, M) == pytest.approx(100 * (80 / 80 + 100 / 140) / 2)
    assert "| - |" in markdown(ours, {"other": (base, "")})


def test_images_must_be_the_same():
    ours = network(75.0, {1: 75.0}, {1: 50.0}, words("1110", "1101", "1100"))
    short = network(75.0, {1: 75.0}, {1: 50.0}, words("111", "110", "110"))
    for other in (short, ours._replace(images="others")):
        with pytest.raises(ValueError, match="the same images"):
            lead(ours, other, "top1", "top1")
    with pytest.raises(ValueError, match=r"no images are recorded for head 'top1_cnn', only \['to"):
        lead(ours, ours, "top1_cnn", "top1")
