"""TwoTowerHead: a classifier on each tower; their logits are summed (paper, section 4)."""

import logging
import re

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from robustnet_mm.arguments import (
    as_tuple,
    check_dict,
    check_flag,
    check_init_cfg,
    check_names,
    check_whole,
    is_number,
)
from robustnet_mm.registry import MODELS, build_part
from robustnet_mm.weights import LoadableModule, WeightsSpec

from .towers.timm_models import checked_args
from .towers.timm_trunk import create_cnn, empty_trunk, layouts_of
from .towers.vit import HEAD_PARTS, create_vit


class _Classifier(LoadableModule):
    """A linear layer that says so when a checkpoint has another number of classes."""

    def __init__(self, in_channels: int, num_classes: int, init_cfg=None):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        check_whole(f"in_channels of {type(self).__name__}", in_channels, 1)
        check_whole("num_classes", num_classes, 1)
        self.fc = nn.Linear(in_channels, num_classes)
        nn.init.trunc_normal_(self.fc.weight, std=0.02)
        nn.init.zeros_(self.fc.bias)


class CNNClassifier(_Classifier):
    """Global average pool and linear: last map (N, C, H, W) -> logits (N, num_classes)."""

    weights_spec = WeightsSpec(
        "cnn_head",
        ("ResNet", "Conformer"),
        ((r"(fc|conv_cls_head)\.(.*)", r"fc.\2"), (r".*", None)),
    )

    def forward(self, outputs) -> Tensor:
        return self.fc(outputs.maps[-1].mean((2, 3)))


class ViTClassifier(_Classifier):
    """Final norm and linear on the tokens (N, P + h*w, D) -> logits (N, num_classes).

    Args:
        in_channels: Token width D.
        num_classes: Number of classes.
        pool: 'token' reads the class token, 'avg' the mean of the patch tokens (as fine-tuned
            MAE does).
        norm_first: Norm the tokens before they are averaged, as timm's `*_gap_*` models do; the
            default norms their mean. Without effect on 'token'.
        init_cfg: `dict(type='robustnet_mm.PretrainedTower', checkpoint=...)` for norm and linear.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        pool: str = "token",
        norm_first: bool = False,
        init_cfg=None,
    ):
        if pool not in ("token", "avg"):
            raise ValueError(f"pool must be 'token' or 'avg', got {pool!r}")
        check_flag("norm_first", norm_first)
        super().__init__(in_channels, num_classes, init_cfg)
        self.pool = pool
        self.norm_first = norm_first
        norm, other = (
            ("fc_norm", "norm") if pool == "avg" and not norm_first else ("norm", "fc_norm")
        )
        keys = (
            (r"head\.(weight|bias)", r"fc.\1"),
            (rf"{norm}\.(.*)", r"norm.\1"),
            # a norm in the other place, or another head beside, is another network
            (rf"(?!({other}|head|head_dist|attn_pool)\.).*", None),
        )
        self.weights_spec = WeightsSpec("vit_head", ("ViT",), keys)
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)

    def forward(self, outputs) -> Tensor:
        num_patches = outputs.grid[0] * outputs.grid[1]
        if self.pool == "avg":
            patches = outputs.tokens[:, -num_patches:]
            pooled = self.norm(patches).mean(1) if self.norm_first else self.norm(patches.mean(1))
            return self.fc(pooled)
        if outputs.tokens.size(1) == num_patches:
            raise ValueError("pool='token' needs a ViT with a class token: set pool='avg'")
        return self.fc(self.norm(outputs.tokens[:, 0]))


class _TimmClassifier(LoadableModule):
    """What timm's network does after its last block, under its own names.

    Args:
        num_classes: Number of classes.
        model_name: timm's name, the tower's.
        model_args: That model's arguments, e.g. `dict(global_pool='avg')`.
        init_cfg: `dict(type='robustnet_mm.PretrainedTower', checkpoint=...)`.
    """

    def __init__(self, num_classes: int, model_name: str, model_args=None, init_cfg=None):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        check_whole("num_classes", num_classes, 1)
        args = {**checked_args(model_args), "num_classes": num_classes}
        self.model, layouts = self._make(model_name, args)
        names = "|".join(re.escape(name.split(".")[0]) for name in self.model.state_dict())
        keys = ((rf"({names})(\..*)?", r"model.\g<0>"), (r".*", None))
        self.weights_spec = WeightsSpec(self.kind, layouts, keys, model_name=model_name)


class TimmCNNClassifier(_TimmClassifier):
    """Last map (N, C, H, W) -> logits (N, num_classes), as timm's CNN of that name makes them."""

    kind = "cnn_head"

    def _make(self, model_name: str, args: dict) -> tuple[nn.Module, tuple[str, ...]]:
        model, (stem, holders) = create_cnn(model_name, args)
        with torch.no_grad():  # the layout in which timm pools, on which the rounding depends
            own = model.eval().forward_features(torch.zeros(1, 3, 64, 64)).is_contiguous()
        self.memory_format = torch.contiguous_format if own else torch.channels_last
        return empty_trunk(model.train(), (*stem, *holders)), layouts_of(model)

    def forward(self, outputs) -> Tensor:
        feat = outputs.maps[-1].contiguous(memory_format=self.memory_format)
        return self.model.forward_head(self.model.forward_features(feat))


class TimmViTClassifier(_TimmClassifier):
    """Tokens (N, P + h*w, D) -> logits (N, num_classes), as timm's ViT of that name makes them."""

    kind = "vit_head"

    def _make(self, model_name: str, args: dict) -> tuple[nn.Module, tuple[str, ...]]:
        model = create_vit(model_name, {**args, "depth": 1})  # its blocks are not kept
        for name in [n for n, _ in model.named_children() if n not in HEAD_PARTS]:
            delattr(model, name)
        for name in [n for n, _ in model.named_parameters(recurse=False)]:
            delattr(model, name)
        return model, ("ViT",)

    def forward(self, outputs) -> Tensor:
        return self.model.forward_head(self.model.norm(outputs.tokens))


def _make_classifier(name: str, cfg: dict, num_classes: int, own: type, of_timm: type) -> nn.Module:
    check_dict(f"{name} of TwoTowerHead", cfg, "dict(in_channels=256)")
    kind = of_timm if "model_name" in cfg else own
    check_names(name, cfg, kind, given=("num_classes", "type", "_scope_"))
    return kind(num_classes=num_classes, **cfg)


def _shares(loss_weights: tuple[float, ...]) -> list[float]:
    weights = as_tuple(loss_weights) or ()
    numbers = len(weights) in (2, 3) and all(is_number(weight) for weight in weights)
    if not numbers or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(
            "loss_weights must be 2 or 3 numbers (cnn, vit, sum) >= 0 with a sum > 0, got "
            f"{loss_weights!r}"
        )
    return [weight / sum(weights) for weight in weights]


@MODELS.register_module()
class TwoTowerHead(BaseModule):
    """Head of mmpretrain's `ImageClassifier` for a backbone that gives `TowerOutputs`.

    The loss is the weighted mean of the two heads' losses on the same label (the paper's) and, if
    asked for, of the loss of their summed logits, which are the prediction.

    Args:
        num_classes: Number of classes.
        cnn: Arguments of `CNNClassifier`: `dict(in_channels=...)`; or, for the head of a CNN of
            timm, of `TimmCNNClassifier`: `dict(model_name=...)`.
        vit: Arguments of `ViTClassifier`: `dict(in_channels=..., pool=...)`; or, for the head of
            a ViT of timm, of `TimmViTClassifier`: `dict(model_name=...)`.
        loss: Config of the loss of each head.
        loss_weights: Weights of the CNN's, the ViT's and, as a third, the summed logits' loss in
            their mean.
        init_cfg: As in mmengine; the two classifiers take their own.
    """

    def __init__(
        self,
        num_classes: int,
        cnn: dict,
        vit: dict,
        loss: dict | None = None,
        loss_weights: tuple[float, ...] = (1.0, 1.0),
        init_cfg=None,
    ):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        check_whole("num_classes", num_classes, 1, also=": set it to the classes of your data")
        self.loss_weights = _shares(loss_weights)
        self.num_classes = num_classes
        self.cnn = _make_classifier("cnn", cnn, num_classes, CNNClassifier, TimmCNNClassifier)
        self.vit = _make_classifier("vit", vit, num_classes, ViTClassifier, TimmViTClassifier)
        loss = dict(type="mmpretrain.CrossEntropyLoss") if loss is None else loss
        self.loss_module = build_part("loss", loss, "dict(type='mmpretrain.CrossEntropyLoss')")

    def forward(self, outputs) -> tuple[Tensor, Tensor]:
        """`TowerOutputs` -> logits of the CNN and of the ViT, each (N, num_classes)."""
        if not hasattr(outputs, "tokens"):
            raise ValueError(
                "TwoTowerHead reads both towers, got maps only: set out_type='towers' in backbone"
            )
        return self.cnn(outputs), self.vit(outputs)

    def loss(self, outputs, data_samples: list, **kwargs) -> dict[str, Tensor]:
        """Each one's share of the mean loss; mmengine sums what is named `loss*`."""
        if "gt_score" in data_samples[0]:  # soft labels, from mixup and cutmix
            target = torch.stack([sample.gt_score for sample in data_samples])
        else:
            target = torch.cat([sample.gt_label for sample in data_samples])
        losses = {}
        cnn, vit = self(outputs)
        named = dict(loss_cnn=cnn, loss_vit=vit, loss_sum=cnn + vit)
        for (name, logits), weight in zip(named.items(), self.loss_weights, strict=False):
            loss = self.loss_module(logits, target, avg_factor=logits.size(0), **kwargs)
            losses[name] = weight * loss
        return losses

    def predict(self, outputs, data_samples: list | None = None) -> list:
        """Data samples with `pred_score` (softmax of the summed logits) and `pred_label`.

        Each head's own probabilities are kept as `cnn_score` and `vit_score`, (num_classes,).
        """
        cnn, vit = (logits.float() for logits in self(outputs))
        scores = [logits.softmax(1) for logits in (cnn + vit, cnn, vit)]
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
            other = found is not None and own.ndim == 2 and found.shape != own.shape
            if other and found.shape[1:] == own.shape[1:]:
                print_log(
                    f"{prefix}{name} has {len(found)} classes in the checkpoint and {len(own)} "
                    "here: it keeps its fresh initialisation",
                    logger="current",
                    level=logging.WARNING,
                )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _data_sample():
    from mmpretrain.structures import DataSample  # only where the host's classifier runs

    return DataSample()
