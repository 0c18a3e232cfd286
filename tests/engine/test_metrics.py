import torch

from robustnet_mm.engine import TowerAccuracy


def test_accuracy_is_counted_for_each_tower_and_their_sum():
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    cnn = scores[[3, 3, 3, 3]]  # always says 0, then 1
    vit = scores[[1, 1, 1, 1]]  # always says 2, then 1
    labels = (0, 2, 0, 1)
    metric = TowerAccuracy(topk=(1, 2))
    batch = zip(scores, cnn, vit, labels, strict=True)
    metric.process(
        None,
        [
            dict(pred_score=s, cnn_score=c, vit_score=v, gt_label=torch.tensor([label]))
            for s, c, v, label in batch
        ],
    )
    result = metric.evaluate(size=4)
    assert result == {
        "accuracy/top1": 50.0,
        "accuracy/top2": 100.0,
        "accuracy/top1_cnn": 50.0,
        "accuracy/top2_cnn": 75.0,
        "accuracy/top1_vit": 25.0,
        "accuracy/top2_vit": 50.0,
    }
