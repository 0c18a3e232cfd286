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
