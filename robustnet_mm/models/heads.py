"""TwoTowerHead: a classifier on each tower, and one prediction (paper, section 4: the sum)."""

import logging
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from robustnet_mm.arguments import (
    as_tuple,
    check_choice,
    check_init_cfg,
    check_whole,
    is_number,
)
from robustnet_mm.registry import MODELS, build_part

from .classifiers import make_classifier
from .combining import COMBINATIONS, negative_correlation


class TowerLogits(NamedTuple):
    """What a `TwoTowerHead` gives, each (N, num_classes)."""

    cnn: Tensor
    vit: Tensor
    joint: Tensor  # the prediction: their sum, or what `combine` makes of them


def _shares(loss_weights: tuple[float, ...], combine: str) -> list[float]:
    weights = as_tuple(loss_weights) or ()
    numbers = len(weights) in (2, 3) and all(is_number(weight) for weight in weights)
    # what is learned has a loss of its own beside that of the towers, and takes nothing from it
    total = sum(weights if combine == "sum" else weights[:2]) if numbers else 0
    if not numbers or min(weights) < 0 or total <= 0:
        raise ValueError(
            "loss_weights must be 2 or 3 numbers (cnn, vit, prediction) >= 0 with a sum > 0, got "
            f"{loss_weights!r}"
        )
    if combine != "sum" and (len(weights) < 3 or weights[2] == 0):
        raise ValueError(
            f"combine={combine!r} learns from the loss of the prediction: set the third of "
            f"loss_weights, such as (1.0, 1.0, 1.0), got {loss_weights!r}"
        )
    return [weight / total for weight in weights]


@MODELS.register_module()
class TwoTowerHead(BaseModule):
    """Head of mmpretrain's `ImageClassifier` for a backbone that gives `TowerOutputs`.

    The prediction is the sum of their logits, or what `combine` makes of them. The loss is the
    weighted mean of the two heads' losses on the same label (the paper's) and, if asked for, of the
    prediction's.

    Args:
        num_classes: Number of classes.
        cnn: Arguments of `CNNClassifier`: `dict(in_channels=...)`; or, for the head of a CNN of
            timm, of `TimmCNNClassifier`: `dict(model_name=...)`.
        vit: Arguments of `ViTClassifier`: `dict(in_channels=..., pool=...)`; or, for the head of
            a ViT of timm, of `TimmViTClassifier`: `dict(model_name=...)`.
        loss: Config of the loss of each head.
        loss_weights: Weights of the CNN's, the ViT's and, as a third, the prediction's loss in
            their mean.
        combine: The prediction: 'sum'; 'weights' or 'class_weights', a sum with learned weights,
            one for each head or for each class; 'fused', the sum and a third head on what both
            pool. All start as the sum; what is learned needs the third of `loss_weights`. See
            `combining`.
        apart: Weight of a loss that is low where the heads say different things (negative
            correlation learning).
        init_cfg: As in mmengine; the two classifiers take their own.
    """

    def __init__(
        self,
        num_classes: int,
        cnn: dict,
        vit: dict,
        loss: dict | None = None,
        loss_weights: tuple[float, ...] = (1.0, 1.0),
        combine: str = "sum",
        apart: float = 0.0,
        init_cfg=None,
    ):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        check_whole("num_classes", num_classes, 1, also=": set it to the classes of your data")
        check_choice("combine", combine, COMBINATIONS)
        if not is_number(apart) or apart < 0:
            raise ValueError(f"apart must be a number >= 0, got {apart!r}")
        self.loss_weights = _shares(loss_weights, combine)
        self.num_classes, self.apart = num_classes, apart
        self.cnn = make_classifier("cnn", cnn, num_classes)
        self.vit = make_classifier("vit", vit, num_classes)
        widths = self.cnn.width, self.vit.width
        self.combine = COMBINATIONS[combine](num_classes, widths)
        loss = dict(type="mmpretrain.CrossEntropyLoss") if loss is None else loss
        self.loss_module = build_part("loss", loss, "dict(type='mmpretrain.CrossEntropyLoss')")

    def forward(self, outputs) -> TowerLogits:
        """`TowerOutputs` -> logits of the CNN, of the ViT, and of both."""
        if not hasattr(outputs, "tokens"):
            raise ValueError(
                "TwoTowerHead reads both towers, got maps only: set out_type='towers' in backbone"
            )
        heads, pooled = (self.cnn, self.vit), None
        if self.combine.reads_pooled:  # pooled once: a head of timm may have norms and dropout
            pooled = [head.pooled(outputs) for head in heads]
            logits = [head.classify(one) for head, one in zip(heads, pooled, strict=True)]
        else:
            logits = [head(outputs) for head in heads]
        wide = torch.promote_types(logits[0].dtype, torch.float32)  # not summed in half precision
        terms = tuple(one.to(wide) for one in logits)
        return TowerLogits(*logits, self.combine(terms, pooled))

    def loss(self, outputs, data_samples: list, **kwargs) -> dict[str, Tensor]:
        """Each one's share of the mean loss; mmengine sums what is named `loss*`."""
        if "gt_score" in data_samples[0]:  # soft labels, from mixup and cutmix
            target = torch.stack([sample.gt_score for sample in data_samples])
        else:
            target = torch.cat([sample.gt_label for sample in data_samples])
        losses = {}
        cnn, vit, joint = self(outputs)
        named = dict(loss_cnn=cnn, loss_vit=vit, loss_joint=joint)
        for (name, logits), weight in zip(named.items(), self.loss_weights, strict=False):
            loss = self.loss_module(logits, target, avg_factor=logits.size(0), **kwargs)
            losses[name] = weight * loss
        if self.apart:
            losses["loss_apart"] = self.apart * negative_correlation(cnn, vit)
        return losses

    def predict(self, outputs, data_samples: list | None = None) -> list:
        """Data samples with `pred_score` (softmax of the prediction) and `pred_label`.

        Each head's own probabilities are kept as `cnn_score` and `vit_score`, (num_classes,).
        """
        cnn, vit, joint = self(outputs)
        scores = [logits.float().softmax(1) for logits in (joint, cnn, vit)]
        samples = data_samples or [_data_sample() for _ in cnn]
        for sample, both, cnn_score, vit_score in zip(samples, *scores, strict=True):
            sample.set_pred_score(both).set_pred_label(both.argmax(0, keepdim=True))
            sample.set_field(cnn_score, "cnn_score")
            sample.set_field(vit_score, "vit_score")
        return samples

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """A checkpoint of other classes keeps all but its linear layers, and says so."""
        for name, own in self.state_dict().items():
            found = state_dict.get(prefix + name)
            if found is None or found.ndim != 2 or own.ndim != 2:
                continue
            axis = 1 if name == "combine.offsets" else 0  # of the classes
            theirs, ours = found.shape[axis], own.shape[axis]
            if theirs != ours and found.shape[1 - axis] == own.shape[1 - axis]:
                print_log(
                    f"{prefix}{name} has {theirs} classes in the checkpoint and {ours} "
                    "here: it keeps its fresh initialisation",
                    logger="current",
                    level=logging.WARNING,
                )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _data_sample():
    from mmpretrain.structures import DataSample  # only where the host's classifier runs

    return DataSample()
