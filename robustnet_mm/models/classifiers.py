"""The classifier on each tower: what is pooled of it, and a linear layer; ours, and timm's."""

import re

import torch
from torch import Tensor, nn

from robustnet_mm.arguments import check_dict, check_flag, check_init_cfg, check_names, check_whole
from robustnet_mm.weights import LoadableModule, WeightsSpec

from .towers.timm_models import checked_args
from .towers.timm_trunk import create_cnn, empty_trunk, layouts_of
from .towers.vit import HEAD_PARTS, create_vit


class _Classifier(LoadableModule):
    """What is pooled of a tower, (N, width), and a linear layer on it."""

    def __init__(self, in_channels: int, num_classes: int, init_cfg=None):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        check_whole(f"in_channels of {type(self).__name__}", in_channels, 1)
        check_whole("num_classes", num_classes, 1)
        self.fc = nn.Linear(in_channels, num_classes)
        nn.init.trunc_normal_(self.fc.weight, std=0.02)
        nn.init.zeros_(self.fc.bias)
        self.width = in_channels

    def forward(self, outputs) -> Tensor:
        return self.classify(self.pooled(outputs))

    def classify(self, pooled: Tensor) -> Tensor:
        """(N, width) -> (N, num_classes)."""
        return self.fc(pooled)


class CNNClassifier(_Classifier):
    """Global average pool and linear: last map (N, C, H, W) -> logits (N, num_classes)."""

    weights_spec = WeightsSpec(
        "cnn_head",
        ("ResNet", "Conformer"),
        ((r"(fc|conv_cls_head)\.(.*)", r"fc.\2"), (r".*", None)),
    )

    def pooled(self, outputs) -> Tensor:
        """(N, C)."""
        return outputs.maps[-1].mean((2, 3))


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

    def pooled(self, outputs) -> Tensor:
        """(N, D)."""
        num_patches = outputs.grid[0] * outputs.grid[1]
        if self.pool == "avg":
            patches = outputs.tokens[:, -num_patches:]
            return self.norm(patches).mean(1) if self.norm_first else self.norm(patches.mean(1))
        if outputs.tokens.size(1) == num_patches:
            raise ValueError("pool='token' needs a ViT with a class token: set pool='avg'")
        return self.norm(outputs.tokens[:, 0])


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
        self.width = getattr(self.model.get_classifier(), "in_features", None)  # of a linear layer

    def forward(self, outputs) -> Tensor:
        return self.model.forward_head(self._features(outputs))

    def pooled(self, outputs) -> Tensor:
        """What its last layer reads, (N, width)."""
        return self.model.forward_head(self._features(outputs), pre_logits=True)

    def classify(self, pooled: Tensor) -> Tensor:
        """(N, width) -> (N, num_classes)."""
        return self.model.get_classifier()(pooled)


class TimmCNNClassifier(_TimmClassifier):
    """Last map (N, C, H, W) -> logits (N, num_classes), as timm's CNN of that name makes them."""

    kind = "cnn_head"

    def _make(self, model_name: str, args: dict) -> tuple[nn.Module, tuple[str, ...]]:
        model, (stem, holders) = create_cnn(model_name, args)
        with torch.no_grad():  # the layout in which timm pools, on which the rounding depends
            own = model.eval().forward_features(torch.zeros(1, 3, 64, 64)).is_contiguous()
        self.memory_format = torch.contiguous_format if own else torch.channels_last
        return empty_trunk(model.train(), (*stem, *holders)), layouts_of(model)

    def _features(self, outputs) -> Tensor:
        feat = outputs.maps[-1].contiguous(memory_format=self.memory_format)
        return self.model.forward_features(feat)


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

    def _features(self, outputs) -> Tensor:
        return self.model.norm(outputs.tokens)


CLASSIFIERS = dict(
    cnn=(CNNClassifier, TimmCNNClassifier),
    vit=(ViTClassifier, TimmViTClassifier),
)


def make_classifier(tower: str, cfg: dict, num_classes: int) -> nn.Module:
    """That of the 'cnn' or the 'vit', of timm where the config names its network.

    Raises:
        ValueError: An argument that it does not have.
    """
    own, of_timm = CLASSIFIERS[tower]
    check_dict(f"{tower} of TwoTowerHead", cfg, "dict(in_channels=256)")
    kind = of_timm if "model_name" in cfg else own
    check_names(tower, cfg, kind, given=("num_classes", "type", "_scope_"))
    return kind(num_classes=num_classes, **cfg)
