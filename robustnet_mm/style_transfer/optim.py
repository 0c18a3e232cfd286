"""Two optimisers for the adversarial branch."""

from collections.abc import Mapping
from copy import deepcopy

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from torch import nn

from robustnet_mm.arguments import check_dict
from robustnet_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

_PARTS = ("generator", "discriminator")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class AdversarialConstructor:
    """An OptimWrapperDict of 'generator' (all but the discriminator) and 'discriminator'.

    Args:
        optim_wrapper_cfg: `dict(generator=dict(optimizer=...), discriminator=dict(...))`; each may
            name a constructor of its own.
        paramwise_cfg: None; each part has its own.

    Raises:
        ValueError: A part is missing, something else is given, or the model has no discriminator or
            is spread over several processes.
    """

    def __init__(self, optim_wrapper_cfg: Mapping, paramwise_cfg: Mapping | None = None):
        for name in _PARTS:
            example = "dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))"
            check_dict(f"optim_wrapper.{name}", optim_wrapper_cfg.get(name), example)
        others = [name for name in optim_wrapper_cfg if name not in _PARTS]
        if others or paramwise_cfg:
            raise ValueError(
                f"optim_wrapper takes {', '.join(_PARTS)} and the constructor, got "
                f"{', '.join([*others, *(['paramwise_cfg'] if paramwise_cfg else [])])}: each part "
                "has its own; add _delete_=True where the base has one optimizer"
            )
        self.cfg = {name: optim_wrapper_cfg[name] for name in _PARTS}

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """The wrappers of a `RobustStyleTransfer`."""
        if is_model_wrapper(model):
            raise ValueError(
                "the adversarial branch trains in one process, got a "
                f"{type(model).__name__}: start it without a launcher"
            )
        if getattr(model, "discriminator", None) is None:
            raise ValueError("AdversarialConstructor needs a model with a discriminator")
        rest = {name: part for name, part in model.named_children() if name != "discriminator"}
        parts = dict(generator=nn.ModuleDict(rest), discriminator=model.discriminator)
        return OptimWrapperDict(
            **{
                name: build_optim_wrapper(part, deepcopy(self.cfg[name]))
                for name, part in parts.items()
            }
        )
