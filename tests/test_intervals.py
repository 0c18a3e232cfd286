import numpy as np
from scipy import stats

from robustnet_mm.intervals import paired, resampled


def test_the_interval_is_students_over_the_differences_seed_by_seed():
    ours, control = {0: 3.0, 1: 5.0, 2: 4.0, 7: 99.0}, {2: 1.0, 0: 2.0, 1: 2.0}
    got = paired(ours, control)
    low, high = stats.ttest_rel([3, 5, 4], [2, 2, 1]).confidence_interval(0.95)
    assert got["seeds"] == 3
    np.testing.assert_allclose([got["mean"], got["low"], got["high"]], [7 / 3, low, high])
    low, high = stats.ttest_rel([3, 5, 4], [2, 2, 1]).confidence_interval(0.99)  # of five
    wide = paired(ours, control, 1 - 0.05 / 5)
    np.testing.assert_allclose([wide["low"], wide["high"]], [low, high])
    assert paired({0: 1.0}, {0: 0.5}) == dict(mean=0.5, low=None, high=None, seeds=1)
    assert paired({0: 1.0}, {1: 0.5}) is None


def test_the_noise_of_seeds_and_that_of_images_are_both_in_the_interval():
    random, count = np.random.default_rng(1), 400
    images = np.tile(random.normal(1, 20, count), (5, 1))  # each seed alike
    seeds = np.tile(random.normal(1, 3, (40, 1)), (1, 10))  # each image alike
    for rows, error in (
        (images, images[0].std() / count**0.5),
        (seeds, seeds[:, 0].std() / 40**0.5),
    ):
        low, high = resampled(lambda k, drawn, of=rows: of[k, drawn].mean(), *rows.shape)
        mean = rows.mean()
        np.testing.assert_allclose([mean - low, high - mean], 1.96 * error, rtol=0.1)
        low, high = resampled(lambda k, drawn, of=rows: of[k, drawn].mean(), *rows.shape, level=0.8)
        np.testing.assert_allclose([mean - low, high - mean], 1.28 * error, rtol=0.1)
