"""timm's CNNs, taken apart: the stem, what holds the blocks, the blocks one by one."""

import torch
from timm.models import regnet
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .recompute import frozen_statistics
from .timm_models import checked_args, create_timm_model

# timm's network -> (what runs before the first block, what holds the blocks)
_TRUNKS = {
    "ResNet": (("conv1", "bn1", "act1", "maxpool"), ("layer1", "layer2", "layer3", "layer4")),
    "RegNet": (("stem",), ("s1", "s2", "s3", "s4")),
    "EfficientNet": (("conv_stem", "bn1"), ("blocks",)),
    "MobileNetV3": (("conv_stem", "bn1"), ("blocks",)),
    "SENet": (("layer0", "pool0"), ("layer1", "layer2", "layer3", "layer4")),
}
_OTHER_TRUNK = (("stem",), ("stages",))  # ConvNeXt and many more
WORKING = (
    "ResNet, ResNeXt, Wide-ResNet, SE- and ECA-ResNet, RegNet, ConvNeXt(V2), MobileNetV2/V3 and "
    "EfficientNet(V2), or any network of timm with a stem and stages"
)
_LEVEL_STRIDES = (4, 8, 16, 32, 64)


def create_cnn(model_name: str, model_args: dict | None) -> tuple[nn.Module, tuple]:
    """timm's whole network, and the names of its stem and of what holds its blocks.

    Raises:
        ValueError: Unknown name, or a network without stages.
    """
    model = create_timm_model(model_name, "*", **checked_args(model_args))
    trunk = _TRUNKS.get(type(model).__name__, _OTHER_TRUNK)
    if not all(isinstance(getattr(model, n, None), nn.Module) for n in sum(trunk, ())):
        plain_vit = type(model).__name__ in ("VisionTransformer", "Eva", "Beit")
        hint = "it is a ViT: name it in ViTTower" if plain_vit else ""
        raise ValueError(
            f"TimmCNNTower needs a CNN with a stem and stages, which {model_name!r} (a "
            f"{type(model).__name__}) has not: {hint or 'take ' + WORKING}"
        )
    return model, trunk


def layouts_of(model: nn.Module) -> tuple[str, ...]:
    """Whose names the model's keys are, in the words of the key tables."""
    name = type(model).__name__
    return ("EfficientNet",) if name == "MobileNetV3" else (name,)  # built of the same blocks


def empty_trunk(model: nn.Module, trunk: tuple[str, ...]) -> nn.Module:
    """What timm does after the last block: the model with a trunk that passes its input on."""
    for name in trunk:
        setattr(model, name, nn.Sequential())
    return model


def blocks_of(model_name: str, model: nn.Module, layout: tuple) -> list[tuple]:
    """The blocks of timm's network as `_follow` finds them; `layout` is that of `create_cnn`.

    Raises:
        ValueError: They cannot be found; says why.
    """
    try:
        return _follow(model, *layout)
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
        reason = str(error) or "it refuses an image of 64 x 64"
        raise ValueError(
            f"{model_name!r} cannot be followed block by block ({reason}): take {WORKING}"
        ) from error


@torch.no_grad()
def _follow(model: nn.Module, stem: tuple[str, ...], holders: tuple[str, ...]) -> list[tuple]:
    """Find the blocks which, one by one, give just the features that timm's network gives.

    Two images are run, whose statistics the norms take, so that random weights do not overflow.
    The model is left without its trunk.

    Returns:
        (what runs in a row, (channels that enter, that leave), stride) of each block, in order.

    Raises:
        ValueError: The blocks give something else.
    """
    images = torch.linspace(-2, 2, 2 * 3 * 64 * 64).view(2, 3, 64, 64).sin()
    first = nn.Sequential(*(getattr(model, name) for name in stem))
    stages = nn.Sequential(*(getattr(model, name) for name in holders))
    model.eval()
    for module in model.modules():
        module.train(isinstance(module, _BatchNorm))
    reason = "its stem and stages alone do not give its features"
    with frozen_statistics(model):
        expected = model.forward_features(images)
        end = empty_trunk(model, (*stem, *holders))
        for fine in (True, False):  # blocks within stages, or whole stages
            try:
                feat, found = _run(_flatten(stages, fine), first(images))
                same = feat.ndim == 4 and torch.equal(end.forward_features(feat), expected)
            except (RuntimeError, TypeError) as error:
                reason, same = str(error), False
            if same:
                first.train()
                stages.train()
                return found
    raise ValueError(reason)


def level_ends(found: list[tuple]) -> list[int]:
    """The last block of each stride that is a level of the pyramid."""
    strides = [*(stride for *_, stride in found), None]
    ends = [u for u in range(len(found)) if strides[u] != strides[u + 1]]
    return [u for u in ends if strides[u] in _LEVEL_STRIDES]


def _run(blocks: list[list[nn.Module]], feat: Tensor) -> tuple[Tensor, list[tuple]]:
    found = []
    for parts in blocks:
        entering = feat.size(1)
        for part in parts:
            feat = part(feat)
        found.append((parts, (entering, feat.size(1)), 64 // feat.size(-1)))
    return feat, found


def _flatten(part: nn.Module, fine: bool) -> list[list[nn.Module]]:
    """What runs in a row for each block of a stage, or of a row of stages."""
    if isinstance(part, (nn.Sequential, regnet.RegStage)):
        return [found for child in part.children() for found in _flatten(child, fine)]
    if fine and isinstance(getattr(part, "blocks", None), nn.Sequential):
        before = (
            [part.downsample] if isinstance(getattr(part, "downsample", None), nn.Module) else []
        )
        first, *others = part.blocks
        return [[*before, first], *([block] for block in others)]
    return [[part]]
