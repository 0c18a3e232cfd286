"""Accuracy of each tower and of both."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric

from robustnet_mm.arguments import check_choice, check_text, check_wholes
from robustnet_mm.registry import METRICS

HEADS = {"": "pred_score", "_cnn": "cnn_score", "_vit": "vit_score"}  # suffix -> a sample's scores


@METRICS.register_module()
class TowerAccuracy(BaseMetric):
    """Top-k accuracy in percent: `top1` of the prediction, `top1_cnn` and `top1_vit`.

    Args:
        topk: The values of k.
        collect_device: As in mmengine.
        prefix: As in mmengine; the results are named `accuracy/top1` and so on.
    """

    default_prefix = "accuracy"

    def __init__(self, topk: Sequence[int] = (1, 5), collect_device="cpu", prefix=None):
        check_choice("collect_device", collect_device, ("cpu", "gpu"))
        check_text("prefix", prefix, "accuracy")
        super().__init__(collect_device, prefix)
        self.topk = check_wholes("topk", topk, 1)
        if not self.topk:
            raise ValueError("topk must hold a number, such as (1, 5), got none")

    def process(self, data_batch, data_samples: Sequence[dict]):
        """Keep each sample's hits: scores are (num_classes,), the label is (1,)."""
        for sample in data_samples:
            label = int(sample["gt_label"])
            hits = {}
            for suffix, name in HEADS.items():
                order = sample[name].argsort(descending=True).cpu()
                for k in self.topk:
                    hits[f"top{k}{suffix}"] = bool((order[:k] == label).any())
            self.results.append(hits)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Mean over the samples, in percent."""
        names = results[0] if results else ()
        return {
            name: 100 * torch.tensor([float(hits[name]) for hits in results]).mean().item()
            for name in names
        }
