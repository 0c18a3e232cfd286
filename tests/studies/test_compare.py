import torch

from robustnet_mm.studies import right_images


def test_the_weights_of_a_sum_decide():
    scores = dict(cnn_score=[0.9, 0.1], vit_score=[0.2, 0.8], pred_score=[0.7, 0.3])
    sample = {name: torch.tensor(values) for name, values in scores.items()}
    sample["gt_label"] = torch.tensor([1])
    for weights, right in (((1, 1), False), ((1, 2), True), ((2, 2), False), ((0, 1), True)):
        assert right_images([[sample]] * 2, ["cnn", "vit"], weights).tolist() == [right]
    assert right_images([[sample]], ["sum"], [1]).tolist() == [False]
