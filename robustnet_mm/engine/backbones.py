"""The model of a config, and its backbone alone with its weights."""

from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from robustnet_mm.weights.files import find_state_dict, read_checkpoint
from robustnet_mm.weights.load import load_into


def build_model(cfg: Config) -> nn.Module:
    """The model as the Runner builds it: a preprocessor beside it in the config is its own."""
    model = dict(cfg.model)
    if "data_preprocessor" not in model and "data_preprocessor" in cfg:
        model["data_preprocessor"] = cfg.data_preprocessor
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(model)


def load_model(cfg: Config, checkpoint: str | Path) -> nn.Module:
    """`build_model` with the weights of a checkpoint, which must fit to the last key.

    Raises:
        ValueError: They do not.
        FileNotFoundError: No such checkpoint.
    """
    weights, model = find_state_dict(read_checkpoint(checkpoint)), build_model(cfg)
    load_into(model, weights, str(checkpoint))
    return model


def build_backbone(cfg: Config, checkpoint: str | None = None, random: bool = False) -> nn.Module:
    """In eval mode, on the GPU where there is one.

    Args:
        cfg: Of any model with a backbone.
        checkpoint: Of that model, or of its backbone; by default it starts as the config says
            (`init_cfg`).
        random: Leave it as it is made.

    Raises:
        ValueError: The checkpoint is of another backbone, or weights are named that shall be
            random.
        FileNotFoundError: No such checkpoint.
    """
    if random and checkpoint is not None:
        raise ValueError(f"random weights take no checkpoint, got {checkpoint}: leave one out")
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        backbone = MODELS.build(cfg.model.backbone)
    if checkpoint is not None:
        weights = find_state_dict(read_checkpoint(checkpoint))
        inside = {k: v for k, v in weights.items() if k.startswith("backbone.")}
        stripped = {k.removeprefix("backbone."): v for k, v in inside.items()}
        load_into(backbone, stripped or weights, checkpoint)
    elif not random:
        backbone.init_weights()
    backbone.to(get_device()).eval()  # which of mmpretrain's returns nothing
    return backbone
