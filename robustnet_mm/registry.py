"""Child registries of mmengine's: `type='robustnet_mm.NAME'` resolves under every host's scope.

mmengine imports this module when it meets the scope, and then each registry's `locations`, so a
config needs no `custom_imports`.
"""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from robustnet_mm.arguments import check_dict

MODULE2PACKAGE.setdefault("robustnet_mm", "robustnet_mm")  # lets `_base_` say `robustnet_mm::`
if any(metadata.distributions(name="onedl-mmsegmentation")):  # which mmengine does not know yet
    MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"  # for `mmseg::`


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope="robustnet_mm", locations=list(locations))


_ATTENTION, _SELFSUP = "robustnet_mm.attention", "robustnet_mm.selfsup"
_STYLE, _TOKENS = "robustnet_mm.style_transfer", "robustnet_mm.visual_tokens"
MODELS = _child(
    "model", mmengine_registry.MODELS, "robustnet_mm.models", _ATTENTION, _TOKENS, _STYLE, _SELFSUP
)
WEIGHT_INITIALIZERS = _child(
    "weight initializer", mmengine_registry.WEIGHT_INITIALIZERS, "robustnet_mm.weights"
)
DATASETS = _child("dataset", mmengine_registry.DATASETS, "robustnet_mm.datasets", _STYLE)
DATA_SAMPLERS = _child("data sampler", mmengine_registry.DATA_SAMPLERS, _STYLE)
TRANSFORMS = _child(
    "transform", mmengine_registry.TRANSFORMS, "robustnet_mm.datasets", "robustnet_mm.robustness"
)
FUNCTIONS = _child("function", mmengine_registry.FUNCTIONS, "robustnet_mm.engine")
HOOKS = _child("hook", mmengine_registry.HOOKS, "robustnet_mm.engine", _STYLE, _SELFSUP)
METRICS = _child("metric", mmengine_registry.METRICS, "robustnet_mm.engine", _ATTENTION, _STYLE)
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    "optimizer wrapper constructor",
    mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS,
    "robustnet_mm.engine",
    _STYLE,
)


def build_part(name: str, cfg: Mapping, example: str) -> Any:
    """Build what a host offers by its config; `example` is such a config.

    Raises:
        ValueError: No config, or one that the host refuses.
    """
    check_dict(name, cfg, example)
    try:
        return MODELS.build(cfg)
    except (KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"{name} must be a dict such as {example}, got {cfg}: {error}") from error
