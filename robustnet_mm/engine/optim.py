"""Layer-wise learning-rate decay with a rate of its own for each tower."""

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from robustnet_mm.arguments import check_dict, check_number, nearest
from robustnet_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

_TABLES = (
    "pos_embed",
    "cls_token",
    "reg_token",
    "dist_token",
    "rope.freqs",
    "relative_position_bias_table",
)
_PARTS = ("cnn", "vit", "fius", "gates", "others")


def _check_part(part: str, settings: dict) -> None:
    if part not in _PARTS:
        hint = nearest(part, _PARTS)
        raise ValueError(f"paramwise_cfg takes {', '.join(_PARTS)}, got {part!r}{hint}")
    check_dict(f"paramwise_cfg.{part}", settings, "dict(lr_mult=0.5)")
    allowed = ("decay_rate", "lr_mult") if part in ("cnn", "vit") else ("lr_mult",)
    for name, value in settings.items():
        if name not in allowed:
            hint = nearest(name, allowed)
            raise ValueError(f"{part} takes {', '.join(allowed)}, got {name}={value!r}{hint}")
        check_number(f"{name} of {part}", value)
    if not 0 < settings.get("decay_rate", 1.0) <= 1:
        rate = settings["decay_rate"]
        raise ValueError(f"decay_rate of {part} must be in (0, 1], got {rate}")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TowerLayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Learning rate of a layer = lr * lr_mult * decay_rate ** (layers above it), per tower.

    Works for every model whose `backbone` is a RobustNet, a VTResNet or a tower: mmpretrain's
    classifiers, mmdet's and mmseg's detectors and segmentors. Biases, norms, gates and the ViT's
    tables (position, class and register tokens) take no weight decay.

    `paramwise_cfg` may hold `cnn=dict(decay_rate=1.0, lr_mult=1.0)`, `vit=dict(...)` likewise,
    `fius=dict(lr_mult=1.0)`, `gates=dict(lr_mult=...)` (of the FIUs; as `fius` if not given) and
    `others=dict(lr_mult=1.0)` (neck, heads, modules of visual tokens).

    Raises:
        ValueError: Unknown part or setting, a decay rate out of (0, 1], or a backbone without
            `get_layer_depth`.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        example = "dict(type='AdamW', lr=0.001)"
        check_dict("optim_wrapper_cfg", optim_wrapper_cfg, f"dict(optimizer={example})")
        check_dict("optim_wrapper_cfg.optimizer", optim_wrapper_cfg.get("optimizer"), example)
        check_number("optim_wrapper_cfg.optimizer.lr", optim_wrapper_cfg["optimizer"].get("lr"))
        paramwise_cfg = {} if paramwise_cfg is None else paramwise_cfg
        check_dict("paramwise_cfg", paramwise_cfg, "dict(vit=dict(decay_rate=0.65))")
        for part, settings in paramwise_cfg.items():
            _check_part(part, settings)
        # never empty: mmengine asks for no groups then
        super().__init__(optim_wrapper_cfg, {part: {} for part in _PARTS} | dict(paramwise_cfg))

    def add_params(self, params: list, module: nn.Module, **kwargs):
        """Fill `params` with groups of equal learning rate and weight decay."""
        model = module.module if is_model_wrapper(module) else module
        backbone = getattr(model, "backbone", None)
        if not hasattr(backbone, "get_layer_depth"):
            raise ValueError(
                "TowerLayerDecayConstructor needs a backbone with get_layer_depth, such as "
                f"RobustNet, got {type(backbone).__name__}"
            )
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                scale = self._lr_scale(backbone, name)
                plain = not _is_matrix(model, name, parameter) or name.endswith(_TABLES)
                decay = 0.0 if plain else (self.base_wd or 0.0)
                groups.setdefault((scale, decay), []).append(parameter)
        # the largest rate first: the logs of the hosts show the first group's
        for (scale, decay), members in sorted(groups.items(), reverse=True):
            params.append(dict(params=members, lr=self.base_lr * scale, weight_decay=decay))
        scales = sorted({scale for scale, _ in groups})
        print_log(
            f"layer decay: {len(params)} parameter groups, learning rates "
            f"{self.base_lr * scales[0]:.3g} to {self.base_lr * scales[-1]:.3g}",
            logger="current",
        )

    def _lr_scale(self, backbone: nn.Module, name: str) -> float:
        if not name.startswith("backbone."):
            return self.paramwise_cfg["others"].get("lr_mult", 1.0)
        part = name.split(".")[1]
        if part not in _PARTS:  # a tower that is the backbone itself, or what stands beside towers
            kind = backbone.weights_spec.kind
            part = kind if kind in _PARTS else "others"
        if name.endswith("gate.scale"):
            return self.paramwise_cfg["gates"].get(
                "lr_mult", self.paramwise_cfg["fius"].get("lr_mult", 1.0)
            )
        settings = self.paramwise_cfg[part]
        depth, num_layers = backbone.get_layer_depth(name, "backbone.")
        above = num_layers - 1 - depth
        return settings.get("lr_mult", 1.0) * settings.get("decay_rate", 1.0) ** above


def _is_matrix(model: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """More than one dimension; what FullyShardedDataParallel shards is flat, whatever it was."""
    if parameter.ndim > 1 or not name.endswith(".weight"):
        return parameter.ndim > 1
    owner = model.get_submodule(name.rpartition(".")[0])
    return isinstance(owner, (nn.Linear, nn.Conv2d))
