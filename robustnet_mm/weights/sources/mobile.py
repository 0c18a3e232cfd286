"""Keys of torchvision's MobileNets and EfficientNets, whose blocks have numbers for names."""

from robustnet_mm.weights.spec import Rows, StateDict

# names of torchvision's layers within a block -> names of timm's, for each kind of block
_DS = (("0.0", "conv_dw"), ("0.1", "bn1"), ("1", "conv_pw"), ("2", "bn2"))
_DS_SE = (
    ("0.0", "conv_dw"),
    ("0.1", "bn1"),
    ("1.fc1", "se.conv_reduce"),
    ("1.fc2", "se.conv_expand"),
    ("2.0", "conv_pw"),
    ("2.1", "bn2"),
)
_IR = (("0.0", "conv_pw"), ("0.1", "bn1"), ("1.0", "conv_dw"), ("1.1", "bn2"))
_IR_SE = (
    *_IR,
    ("2.fc1", "se.conv_reduce"),
    ("2.fc2", "se.conv_expand"),
    ("3.0", "conv_pwl"),
    ("3.1", "bn3"),
)
_IR_V2 = (*_IR, ("2", "conv_pwl"), ("3", "bn3"))
_IR_V3 = (*_IR, ("2.0", "conv_pwl"), ("2.1", "bn3"))
_DS_V3 = (*_DS[:2], ("1.0", "conv_pw"), ("1.1", "bn2"))
_CN = (("0.0", "conv"), ("0.1", "bn1"))
_ER = (("0.0", "conv_exp"), ("0.1", "bn1"), ("1.0", "conv_pwl"), ("1.1", "bn2"))


def _block(theirs: str, ours: str, kind: tuple) -> Rows:
    rows = [(a.replace(".", r"\."), b) for a, b in kind]
    return [(rf"{theirs}\.{a}\.(?P<end>\w+)", rf"{ours}.{b}.\g<end>") for a, b in rows]


def _flat_mobilenet(inner: str, stages: list[list[tuple]]) -> Rows:
    """torchvision's flat `features.N` -> timm's `blocks.STAGE.BLOCK`, in order."""
    rows, number = [], 1
    for stage, kinds in enumerate(stages):
        for block, kind in enumerate(kinds):
            rows += _block(rf"features\.{number}\.{inner}", f"blocks.{stage}.{block}", kind)
            number += 1
    return rows


_TORCHVISION_STEM = [
    (r"features\.0\.0\.(.*)", r"conv_stem.\1"),
    (r"features\.0\.1\.(.*)", r"bn1.\1"),
]
MOBILENET_V2 = [
    *_TORCHVISION_STEM,
    *_flat_mobilenet("conv", [[_DS], *([_IR_V2] * n for n in (2, 3, 4, 3, 3, 1))]),
    (r"features\.18\.0\.(.*)", r"conv_head.\1"),
    (r"features\.18\.1\.(.*)", r"bn2.\1"),
    (r"classifier\.1\.(.*)", r"classifier.\1"),
]
_V3_HEAD = [(r"classifier\.0\.(.*)", r"conv_head.\1"), (r"classifier\.3\.(.*)", r"classifier.\1")]
MOBILENET_V3_LARGE = [
    *_TORCHVISION_STEM,
    *_flat_mobilenet(
        "block", [[_DS_V3], [_IR_V3] * 2, [_IR_SE] * 3, [_IR_V3] * 4, [_IR_SE] * 2, [_IR_SE] * 3]
    ),
    *_block(r"features\.16", "blocks.6.0", (("0", "conv"), ("1", "bn1"))),
    *_V3_HEAD,
]
MOBILENET_V3_SMALL = [
    *_TORCHVISION_STEM,
    *_flat_mobilenet("block", [[_DS_SE], [_IR_V3] * 2, [_IR_SE] * 3, [_IR_SE] * 2, [_IR_SE] * 3]),
    *_block(r"features\.12", "blocks.5.0", (("0", "conv"), ("1", "bn1"))),
    *_V3_HEAD,
]


def _efficientnet(*kinds: tuple) -> Rows:
    """torchvision's `features.STAGE.BLOCK.block` -> timm's, one kind of block per stage."""
    rows = list(_TORCHVISION_STEM)
    for stage, kind in enumerate(kinds, start=1):
        theirs, ours = rf"features\.{stage}\.(?P<block>\d+)\.block", f"blocks.{stage - 1}"
        rows += _block(theirs, rf"{ours}.\g<block>", kind)
    return [
        *rows,
        (r"features\.\d\.0\.(weight)", r"conv_head.\1"),
        (r"features\.\d\.1\.(\w+)", r"bn2.\1"),
        (r"classifier\.1\.(.*)", r"classifier.\1"),
    ]


EFFICIENTNET = _efficientnet(_DS_SE, *[_IR_SE] * 6)
EFFICIENTNET_V2 = _efficientnet(_CN, _ER, _ER, *[_IR_SE] * 4)


def linear_to_conv(weights: StateDict) -> StateDict:
    """Its first classifier layer is a linear in torchvision, a 1x1 convolution in timm."""
    weight = weights.get("conv_head.weight")
    return weights if weight is None else {**weights, "conv_head.weight": weight[:, :, None, None]}


# lukemelas' flat `_blocks.N`: the number of blocks says which network, and so the depth of stages
_DEPTHS = {
    sum(depths): depths
    for depths in (
        (1, 2, 2, 3, 3, 4, 1),  # B0, Lite0
        (2, 3, 3, 4, 4, 5, 2),  # B1, B2
        (2, 3, 3, 5, 5, 6, 2),  # B3
        (2, 4, 4, 6, 6, 8, 2),  # B4
        (3, 5, 5, 7, 7, 9, 3),  # B5
        (3, 6, 6, 8, 8, 11, 3),  # B6
        (4, 7, 7, 10, 10, 13, 4),  # B7
    )
}
_LUKEMELAS_IR = dict(
    _expand_conv="conv_pw",
    _bn0="bn1",
    _depthwise_conv="conv_dw",
    _bn1="bn2",
    _se_reduce="se.conv_reduce",
    _se_expand="se.conv_expand",
    _project_conv="conv_pwl",
    _bn2="bn3",
)
_LUKEMELAS_DS = {**_LUKEMELAS_IR, "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LUKEMELAS = [
    (r"_conv_stem\.(.*)", r"conv_stem.\1"),
    (r"_bn0\.(.*)", r"bn1.\1"),
    (r"_conv_head\.(.*)", r"conv_head.\1"),
    (r"_bn1\.(.*)", r"bn2.\1"),
    (r"_fc\.(.*)", r"classifier.\1"),
    (r"_blocks\.(.*)", r"_blocks.\1"),
]


def number_stages(weights: StateDict) -> StateDict:
    """lukemelas' `_blocks.N.PART` -> timm's `blocks.STAGE.BLOCK.PART`.

    Raises:
        ValueError: A number of blocks that no EfficientNet has.
    """
    numbers = (int(key.split(".")[1]) for key in weights if key.startswith("_blocks."))
    count = 1 + max(numbers, default=-1)
    if count not in _DEPTHS:
        raise ValueError(
            f"the file has {count} blocks, and EfficientNet B0 to B7 have {list(_DEPTHS)}: it is "
            "of a network of its own"
        )
    places = [f"{s}.{b}" for s, depth in enumerate(_DEPTHS[count]) for b in range(depth)]
    found = {}
    for key, value in weights.items():
        if key.startswith("_blocks."):
            _, number, part, end = key.split(".", 3)
            expands = f"_blocks.{number}._expand_conv.weight" in weights
            names = _LUKEMELAS_IR if expands else _LUKEMELAS_DS
            key = f"blocks.{places[int(number)]}.{names.get(part, part)}.{end}"
        found[key] = value
    return found
