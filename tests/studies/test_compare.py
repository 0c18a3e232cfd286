import numpy as np
import torch
from scipy import stats

from robustnet_mm.studies import paired, resampled, right_images


def test_the_interval_is_students_over_the_differences_seed_by_seed():
    ours, control = {0: 3.0, 1: 5.0, 2: 4.0, 7: 99.0}, {2: 1.0, 0: 2.0, 1: 2.0}
    got = paired(ours, control)
    low, high = stats.ttest_rel([3, 5, 4], [2, 2, 1]).confidence_interval(0.95)
    assert got["seeds"] == 3
    np.testing.assert_allclose([got["mean"], got["low"], got["high"]], [7 / 3, low, high])
    assert paired({0: 1.0}, {0: 0.5}) == dict(mean=0.5, low=None, high=None, seeds=1)
    assert paired({0: 1.0}, {1: 0.5}) is None


def test_the_weights_of_a_sum_decide():
    scores = dict(cnn_score=[0.9, 0.1], vit_score=[0.2, 0.8], pred_score=[0.7, 0.3])
    sample = {name: torch.tensor(values) for name, values in scores.items()}
    sample["gt_label"] = torch.tensor([1])
    for weights, right in (((1, 1), False), ((1, 2), True), ((2, 2), False), ((0, 1), True)):
        assert right_images([[sample]] * 2, ["cnn", "vit"], weights).tolist() == [right]
    assert right_images([[sample]], ["sum"], [1]).tolist() == [False]


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
