"""`init_cfg=dict(type='robustnet_mm.PretrainedTower', ...)`: a file into a module, checked."""

import logging
from os import PathLike

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.model.weight_init import initialize
from timm.models import get_pretrained_cfg, list_pretrained
from torch import nn

from robustnet_mm.arguments import check_init_cfg, check_patterns, check_text
from robustnet_mm.registry import WEIGHT_INITIALIZERS
from robustnet_mm.weights.convert import OWN_SOURCE, convert, has_folded_norms, under_prefix
from robustnet_mm.weights.downloads import fetch_weights
from robustnet_mm.weights.files import find_state_dict, read_checkpoint, some
from robustnet_mm.weights.load import LoadReport, load_into
from robustnet_mm.weights.spec import Loadable, WeightsSpec


def carry_out_init_cfg(module: Loadable):
    """Load what the module's `init_cfg` names, if any; modules initialise themselves when made.

    Raises:
        ValueError: An `init_cfg` of another type: mmengine's 'Pretrained' loads what it can.
    """
    check_init_cfg(module, module.init_cfg)
    for cfg in [module.init_cfg] if isinstance(module.init_cfg, dict) else module.init_cfg or []:
        if cfg["type"] not in ("robustnet_mm.PretrainedTower", "PretrainedTower", PretrainedTower):
            raise ValueError(
                f"init_cfg of {type(module).__name__} must have type='robustnet_mm.PretrainedTower'"
                f", which loads to the last key or fails, got {cfg['type']!r}"
            )
        initialize(module, cfg)
    module._is_init = True


@WEIGHT_INITIALIZERS.register_module()
class PretrainedTower:
    """`init_cfg` of towers, their classifiers and `RobustNet`: loads to the last key, or fails.

    Args:
        checkpoint: Path of the file: a published network's, or a classifier's or detector's of
            this package, of which each module takes its own part.
        pretrained: Instead of a path, True for the weights of the module's own `model_name`, or
            another name of timm's: the file is downloaded if it is not there.
        prefix: Takes what stands under this prefix, with the module's own names.
        allow_missing: See `load_into`.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        pretrained: bool | str = False,
        prefix: str | None = None,
        allow_missing: tuple = (),
    ):
        kinds = isinstance(checkpoint, str | PathLike | None) and isinstance(pretrained, bool | str)
        if not kinds or bool(checkpoint) == bool(pretrained):
            raise ValueError(
                "PretrainedTower needs checkpoint='FILE' or pretrained=True, one of them, got "
                f"checkpoint={checkpoint!r}, pretrained={pretrained!r}"
            )
        self.checkpoint = checkpoint
        self.pretrained = pretrained
        check_text("prefix", prefix, "backbone.")
        self.prefix = prefix
        self.allow_missing = check_patterns("allow_missing", allow_missing, "fius.")

    def __call__(self, module: nn.Module) -> LoadReport:
        if not isinstance(module, Loadable):
            raise ValueError(
                "PretrainedTower loads a tower, a classifier of TwoTowerHead or RobustNet, got "
                f"{type(module).__name__}: put it into model.backbone.init_cfg, or use load_from"
            )
        spec = module.weights_spec
        path = self.checkpoint or fetch_weights(self._model_name(module))
        weights, source = find_state_dict(read_checkpoint(path)), OWN_SOURCE
        if self.prefix:
            weights, unused = under_prefix(weights, self.prefix)
        else:
            weights, unused, source = convert(weights, module)
        report = load_into(
            module, weights, source, self.allow_missing, published=source != OWN_SOURCE
        )
        report.unused += unused if source != OWN_SOURCE else []
        level = logging.WARNING if report.reinitialised or report.missing else logging.INFO
        message = f"{type(module).__name__} from {path}: {report}"
        print_log(message, logger="current", level=level)
        if spec.trains_norms and has_folded_norms(module.state_dict()):
            _warn_of_folded_norms()
        if self.checkpoint and source != OWN_SOURCE:
            _warn_of_other_normalizations(spec)
        return report

    def _model_name(self, module: Loadable) -> str:
        if self.pretrained is not True:
            return self.pretrained
        if module.weights_spec.model_name is None:
            raise ValueError(
                f"{type(module).__name__} has no model_name of timm's: name the weights, "
                "pretrained='resnet50.a1_in1k', or the file, checkpoint='FILE'"
            )
        return module.weights_spec.model_name


def _warn_of_other_normalizations(spec: WeightsSpec):
    """A name of timm's without a tag stands for weights of several normalisations."""
    name = spec.model_name
    if spec.assumed_mean is None or "." in name:
        return
    norms = {full: get_pretrained_cfg(full).mean for full in list_pretrained(f"{name}.*")}
    if len(set(norms.values())) > 1:
        print_log(
            f"{name} reads images normalised with mean {spec.assumed_mean}, but timm has weights "
            f"of this name for other means ({some(norms)}): name the tag of the file's, or set "
            "input_norm",
            logger="current",
            level=logging.WARNING,
        )


def _warn_of_folded_norms():
    print_log(
        "all BatchNorm statistics of the file are 0 and 1: its norms were folded into the "
        "convolutions. Set norm_eval=True, or training changes the network at once",
        logger="current",
        level=logging.WARNING,
    )


class LoadableModule(BaseModule):
    """A module that loads what its `init_cfg` names, where mmengine initialises a model."""

    weights_spec: WeightsSpec

    def init_weights(self):
        """Load the checkpoint, if any; the module initialised itself when it was made."""
        carry_out_init_cfg(self)
