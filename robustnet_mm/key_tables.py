"""The keys of published networks, as literal tables, and their renaming to ours."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Source:
    """Where weights for one kind of module come from: a key that tells, and the literal table."""

    name: str
    kind: str  # which module takes it: 'cnn', 'vit', 'cnn_head', 'vit_head', 'vit_head_fc_norm'
    tell: str  # a key that only this source has
    rename: tuple[tuple[str, str], ...]  # (pattern of the file's key, our key)
    unused: str = "(?!)"  # pattern of keys that belong to other parts of the network


_VIT_BODY = r"(patch_embed|norm_pre|blocks|cls_token|reg_token|pos_embed)(\..*)?"
_MAE_DECODER = r"(decoder_\w+|mask_token)(\..*)?"
_VIT_REST = rf"(norm|fc_norm|head)\..*|{_MAE_DECODER}"
_RESNET_BODY = r"(conv1|bn1|layer\d)\..*"
_CONFORMER_CONV = r"(conv1|bn1|conv_1|conv_trans_\d+\.(cnn|fusion)_block)\..*"
_CONFORMER_TRANS = (
    r"(trans_\w+|cls_token|pos_embed|conv_trans_\d+\.(trans_block|squeeze_block|expand_block))"
    r"(\..*)?"
)

SOURCES = (
    Source(
        "Conformer (authors)",
        "cnn",
        "conv_trans_2.cnn_block.conv1.weight",
        (
            (r"(conv1|bn1)\.(.*)", r"\1.\2"),
            (r"(.*)\.residual_conv\.(.*)", r"\1.downsample.0.\2"),
            (r"(.*)\.residual_bn\.(.*)", r"\1.downsample.1.\2"),
            (r"conv_1\.(.*)", r"blocks.0.\1"),
            (r"conv_trans_(\d+)\.cnn_block\.(.*)", r"blocks.{2*i-3}.\2"),
            (r"conv_trans_(\d+)\.fusion_block\.(.*)", r"blocks.{2*i-2}.\2"),
        ),
        unused=rf"{_CONFORMER_TRANS}|(conv_cls_head|trans_cls_head|norm)\..*",
    ),
    Source(
        "Conformer (authors)",
        "cnn_head",
        "conv_cls_head.weight",
        ((r"conv_cls_head\.(.*)", r"fc.\1"),),
        unused=rf"{_CONFORMER_CONV}|{_CONFORMER_TRANS}|(trans_cls_head|norm)\..*",
    ),
    Source(
        "ResNet (torchvision, timm)",
        "cnn",
        "layer1.0.conv1.weight",
        ((r"(conv1|bn1)\.(.*)", r"\1.\2"), (r"layer(\d)\.(\d+)\.(.*)", r"blocks.{block}.\3")),
        unused=r"fc\..*",
    ),
    Source(
        "ResNet (torchvision, timm)",
        "cnn_head",
        "layer1.0.conv1.weight",
        ((r"fc\.(.*)", r"fc.\1"),),
        unused=_RESNET_BODY,
    ),
    Source(
        "ViT (timm, DeiT, MAE, DINO)",
        "vit",
        "blocks.0.attn.qkv.weight",
        ((rf"{_VIT_BODY}", r"model.\g<0>"),),
        unused=_VIT_REST,
    ),
    Source(
        "ViT normed before pooling (timm, DeiT, DINO: norm)",
        "vit_head",
        "blocks.0.attn.qkv.weight",
        ((r"head\.(weight|bias)", r"fc.\1"), (r"norm\.(.*)", r"norm.\1")),
        unused=rf"{_VIT_BODY}|{_MAE_DECODER}",
    ),
    Source(
        "ViT normed after average pooling (fine-tuned MAE: fc_norm)",
        "vit_head_fc_norm",
        "blocks.0.attn.qkv.weight",
        ((r"head\.(weight|bias)", r"fc.\1"), (r"fc_norm\.(.*)", r"norm.\1")),
        unused=rf"{_VIT_BODY}|{_MAE_DECODER}",
    ),
)


def some(keys: Iterable[str], most: int = 6) -> str:
    keys = sorted(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def convert(weights: StateDict, kind: str) -> tuple[StateDict, list[str], str]:
    """Rename a published network's keys for one kind of module.

    Args:
        weights: State dict as published.
        kind: `weights_kind` of the module.

    Returns:
        Renamed weights, keys that belong to other parts, and the source's name.

    Raises:
        ValueError: The source is not recognised, or has keys that its table does not explain.
    """
    candidates = [source for source in SOURCES if source.kind == kind]
    source = next((source for source in candidates if source.tell in weights), None)
    if source is None:
        raise ValueError(
            f"no weights for a {kind} found: keys are {some(weights)}; known sources are "
            f"{', '.join(s.name for s in candidates)}; for a file of this package give prefix="
        )
    number = _number_blocks(weights)
    renamed, unused, strange = {}, [], []
    for key, value in weights.items():
        new = _rename(key, source, number)
        if new is not None:
            renamed[new] = value
        else:
            (unused if re.fullmatch(source.unused, key) else strange).append(key)
    if strange:
        raise ValueError(
            f"{len(strange)} keys are not those of {source.name}: {some(strange)}; "
            "the file is of another architecture, or pools in another way"
        )
    return renamed, unused, source.name


def _number_blocks(weights: StateDict) -> dict[tuple[str, str], int]:
    """(stage, block within it) of ResNet's keys -> number in the flat list of blocks."""
    found = {m.groups() for key in weights if (m := re.match(r"layer(\d)\.(\d+)\.", key))}
    ordered = sorted(found, key=lambda pair: (int(pair[0]), int(pair[1])))
    return {pair: number for number, pair in enumerate(ordered)}


def _rename(key: str, source: Source, number: dict) -> str | None:
    """Apply every row that matches, in order; `{...}` holds the number of a block."""
    renamed = None
    for pattern, target in source.rename:
        match = re.fullmatch(pattern, renamed or key)
        if match is None:
            continue
        if "{block}" in target:
            target = target.replace("{block}", str(number[match.groups()[:2]]))
        elif computed := re.search(r"\{2\*i-(\d)\}", target):
            block = 2 * int(match[1]) - int(computed[1])
            target = target.replace(computed[0], str(block))
        renamed = match.expand(target)
    return renamed
