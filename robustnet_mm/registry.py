"""Child registries of mmengine's: `type='robustnet_mm.NAME'` resolves under every host's scope.

mmengine imports this module when it meets the scope, and then each registry's `locations`, so a
config needs no `custom_imports`.
"""

from mmengine import registry as mmengine_registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

MODULE2PACKAGE.setdefault("robustnet_mm", "robustnet_mm")  # lets `_base_` say `robustnet_mm::`


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope="robustnet_mm", locations=list(locations))


MODELS = _child("model", mmengine_registry.MODELS, "robustnet_mm.models")
WEIGHT_INITIALIZERS = _child(
    "weight initializer", mmengine_registry.WEIGHT_INITIALIZERS, "robustnet_mm.checkpoint"
)
DATASETS = _child("dataset", mmengine_registry.DATASETS, "robustnet_mm.datasets")
TRANSFORMS = _child("transform", mmengine_registry.TRANSFORMS, "robustnet_mm.datasets")
FUNCTIONS = _child("function", mmengine_registry.FUNCTIONS, "robustnet_mm.engine")
HOOKS = _child("hook", mmengine_registry.HOOKS, "robustnet_mm.engine")
METRICS = _child("metric", mmengine_registry.METRICS, "robustnet_mm.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    "optimizer wrapper constructor",
    mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS,
    "robustnet_mm.engine",
)
