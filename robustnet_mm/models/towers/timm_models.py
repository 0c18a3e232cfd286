"""Models of timm by name, with errors that name what is close."""

from difflib import get_close_matches

import timm
from torch import nn

from robustnet_mm.arguments import check_dict, check_rate


def checked_args(model_args: dict | None, **defaults) -> dict:
    """`model_args` over `defaults`, with rates in range: timm takes any number for one."""
    model_args = {} if model_args is None else model_args
    check_dict("model_args", model_args, "dict(drop_path_rate=0.1)")
    args = {**defaults, **model_args}
    for name, value in args.items():
        if name.endswith("_rate") and value is not None:
            check_rate(name, value)
    return args


def create_timm_model(model_name: str, wanted: str, **kwargs) -> nn.Module:
    """A model of timm with fresh weights.

    Args:
        model_name: With or without the tag of its weights: 'vit_base_patch16_224.mae'.
        wanted: Pattern of the names that the caller can use, for the hint: 'vit_*'.
        kwargs: The model's own arguments.

    Raises:
        ValueError: Unknown name or tag, or arguments that timm refuses.
    """
    if kwargs.get("in_chans", 3) != 3:
        raise ValueError(
            f"in_chans of {model_name!r} must be 3, because both towers read the same RGB images, "
            f"got {kwargs['in_chans']}"
        )
    arch, _, tag = str(model_name).partition(".")
    if not timm.is_model(arch):
        known = timm.list_models()
        close = get_close_matches(arch, known, n=3, cutoff=0.4)
        raise ValueError(
            f"model_name must be a name of timm's, got {model_name!r}; close to it: "
            f"{', '.join(close) or 'none'}; all: timm.list_models({wanted!r})"
        )
    if tag and model_name not in timm.list_pretrained(f"{arch}.*"):
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{arch}.*")]
        raise ValueError(
            f"{arch} has no weights with the tag {tag!r}: take one of {', '.join(tags) or 'none'}"
        )
    try:
        return timm.create_model(model_name, **kwargs)
    except Exception as error:  # each network of timm has its own; num_heads=0 is a division by 0
        raise ValueError(
            f"timm cannot make {model_name!r} with {kwargs}: {error}. Check model_args"
        ) from error


def norm_of(model: nn.Module) -> dict:
    """The normalisation that timm knows of a model's weights, in pixel values."""
    cfg = model.pretrained_cfg
    return {key: tuple(round(255 * value, 4) for value in cfg[key]) for key in ("mean", "std")}
