"""Keys of published CNNs, from the Conformer's to torchvision's."""

from robustnet_mm.weights.spec import HOST_PARTS, SELFSUP_PARTS, Rows, Source, StateDict

from .mobile import (
    EFFICIENTNET,
    EFFICIENTNET_V2,
    LUKEMELAS,
    MOBILENET_V2,
    MOBILENET_V3_LARGE,
    MOBILENET_V3_SMALL,
    linear_to_conv,
    number_stages,
)

_CONFORMER_SHORTCUTS = [
    (r"(.*)\.residual_conv\.(.*)", r"\1.downsample.0.\2"),
    (r"(.*)\.residual_bn\.(.*)", r"\1.downsample.1.\2"),
]


def conformer_keys() -> Rows:
    """The authors' names -> `ConvTower`'s."""
    rows = [
        (r"(conv1|bn1)\.(.*)", r"\1.\2"),
        (r"conv_1\.(.*)", r"blocks.0.\1"),
    ]
    for i in range(2, 13):
        rows.append((rf"conv_trans_{i}\.cnn_block\.(.*)", rf"blocks.{2 * i - 3}.\1"))
        rows.append((rf"conv_trans_{i}\.fusion_block\.(.*)", rf"blocks.{2 * i - 2}.\1"))
    return [
        *rows,
        (r"(trans_\w+|cls_token|pos_embed|conv_cls_head|trans_cls_head|norm)(\..*)?", None),
        (r"conv_trans_\d+\.(trans_block|squeeze_block|expand_block)\..*", None),
    ]


def resnet_keys(depths: tuple[int, ...]) -> Rows:
    """ResNet's names -> `ConvTower`'s."""
    rows, number = [(r"(conv1|bn1)\.(.*)", r"\1.\2"), (r"fc\..*", None)], 0
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            rows.append((rf"layer{stage}\.{block}\.(.*)", rf"blocks.{number}.\1"))
            number += 1
    return rows


_MMPRETRAIN_RESNET = [
    (SELFSUP_PARTS, None),
    (r"backbone\.(.*)", r"\1"),
    (r"stem\.2\.bn\.(.*)", r"bn1.\1"),  # ResNetV1d of mmpretrain
    *[(rf"stem\.{k}\.conv\.(.*)", rf"conv1.{3 * k}.\1") for k in range(3)],
    *[(rf"stem\.{k}\.bn\.(.*)", rf"conv1.{3 * k + 1}.\1") for k in range(2)],
    (r"stem\.7\.(.*)", r"bn1.\1"),  # and of mmdet
    (r"stem\.(\d)\.(.*)", r"conv1.\1.\2"),
    (r"(.*)\.se_layer\.conv(\d)\.conv\.(.*)", r"\1.se.fc\2.\3"),
    (r"head\.fc\.(.*)", r"fc.\1"),
    (HOST_PARTS, None),
]
_HF_RESNET = [
    (r"resnet\.(.*)", r"\1"),
    (r"embedder\.embedder\.convolution\.(.*)", r"conv1.\1"),
    (r"embedder\.embedder\.normalization\.(.*)", r"bn1.\1"),
    *[(rf"encoder\.stages\.{s}\.layers\.(.*)", rf"layer{s + 1}.\1") for s in range(4)],
    *[(rf"(.*)\.layer\.{k}\.convolution\.(.*)", rf"\1.conv{k + 1}.\2") for k in range(3)],
    *[(rf"(.*)\.layer\.{k}\.normalization\.(.*)", rf"\1.bn{k + 1}.\2") for k in range(3)],
    (r"(.*)\.shortcut\.convolution\.(.*)", r"\1.downsample.0.\2"),
    (r"(.*)\.shortcut\.normalization\.(.*)", r"\1.downsample.1.\2"),
    (r"classifier\.1\.(.*)", r"fc.\1"),
]
_AUTHORS_CONVNEXT = [
    (r"downsample_layers\.0\.(.*)", r"stem.\1"),
    (r"downsample_layers\.(\d)\.(.*)", r"stages.\1.downsample.\2"),
    (r"stages\.(\d)\.(\d+)\.(.*)", r"stages.\1.blocks.\2.\3"),
    (r"(.*)\.dwconv\.(.*)", r"\1.conv_dw.\2"),
    (r"(.*)\.pwconv(\d)\.(.*)", r"\1.mlp.fc\2.\3"),
    (r"(.*)\.grn\.gamma", r"\1.mlp.grn.weight"),
    (r"(.*)\.grn\.beta", r"\1.mlp.grn.bias"),
    (r"norm\.(.*)", r"head.norm.\1"),
    (r"head\.(weight|bias)", r"head.fc.\1"),
]
_MMPRETRAIN_CONVNEXT = [
    (r"backbone\.(.*)", r"\1"),
    (r"head\.fc\.(.*)", r"head.\1"),
    (r"norm3\.(.*)", r"norm.\1"),
    (r"(.*)\.depthwise_conv\.(.*)", r"\1.dwconv.\2"),
    (r"(.*)\.pointwise_conv(\d)\.(.*)", r"\1.pwconv\2.\3"),
    *_AUTHORS_CONVNEXT,
    (HOST_PARTS, None),
]
_TORCHVISION_CONVNEXT = [
    (r"features\.0\.(.*)", r"stem.\1"),
    *[(rf"features\.{2 * s}\.(\d\..*)", rf"stages.{s}.downsample.\1") for s in (1, 2, 3)],
    *[(rf"features\.{2 * s + 1}\.(.*)", rf"stages.{s}.blocks.\1") for s in range(4)],
    (r"(.*)\.block\.0\.(.*)", r"\1.conv_dw.\2"),
    (r"(.*)\.block\.2\.(.*)", r"\1.norm.\2"),
    (r"(.*)\.block\.3\.(.*)", r"\1.mlp.fc1.\2"),
    (r"(.*)\.block\.5\.(.*)", r"\1.mlp.fc2.\2"),
    (r"(.*)\.layer_scale", r"\1.gamma"),
    (r"classifier\.0\.(.*)", r"head.norm.\1"),
    (r"classifier\.2\.(.*)", r"head.fc.\1"),
]
_HF_CONVNEXT = [
    (r"convnext(?:v2)?\.(.*)", r"\1"),
    (r"embeddings\.patch_embeddings\.(.*)", r"stem.0.\1"),
    (r"embeddings\.layernorm\.(.*)", r"stem.1.\1"),
    (r"encoder\.stages\.(\d)\.downsampling_layer\.(.*)", r"stages.\1.downsample.\2"),
    (r"encoder\.stages\.(\d)\.layers\.(.*)", r"stages.\1.blocks.\2"),
    (r"(.*)\.dwconv\.(.*)", r"\1.conv_dw.\2"),
    (r"(.*)\.layernorm\.(.*)", r"\1.norm.\2"),
    (r"(.*)\.pwconv(\d)\.(.*)", r"\1.mlp.fc\2.\3"),
    (r"(.*)\.grn\.(weight|bias)", r"\1.mlp.grn.\2"),
    (r"(.*)\.layer_scale_parameter", r"\1.gamma"),
    (r"layernorm\.(.*)", r"head.norm.\1"),
    (r"classifier\.(.*)", r"head.fc.\1"),
]
_TORCHVISION_REGNET = [
    (r"stem\.0\.(.*)", r"stem.conv.\1"),
    (r"stem\.1\.(.*)", r"stem.bn.\1"),
    *[(rf"trunk_output\.block\d\.block(\d)-{b}\.(.*)", rf"s\1.b{b + 1}.\2") for b in range(30)],
    *[(rf"(.*)\.f\.{a}\.0\.(.*)", rf"\1.conv{k}.conv.\2") for k, a in enumerate("abc", start=1)],
    *[(rf"(.*)\.f\.{a}\.1\.(.*)", rf"\1.conv{k}.bn.\2") for k, a in enumerate("abc", start=1)],
    (r"(.*)\.f\.se\.(.*)", r"\1.se.\2"),
    (r"(.*)\.proj\.0\.(.*)", r"\1.downsample.conv.\2"),
    (r"(.*)\.proj\.1\.(.*)", r"\1.downsample.bn.\2"),
    (r"fc\.(.*)", r"head.fc.\1"),
]


def _flatten_scales(weights: StateDict) -> StateDict:
    """(C, 1, 1) or (1, 1, 1, C) -> (C,) for what scales channels in ConvNeXt."""
    flat = (".gamma", ".grn.weight", ".grn.bias")
    return {k: v.flatten() if k.endswith(flat) else v for k, v in weights.items()}


CNN_SOURCES = (
    Source(
        "Conformer (authors)",
        "Conformer",
        r"conv_trans_2\.cnn_block\.conv1\.weight",
        _CONFORMER_SHORTCUTS,
    ),
    Source(
        "Conformer (mmpretrain)",
        "Conformer",
        r"backbone\.conv_trans_2\.cnn_block\.conv1\.weight",
        [(r"(?:backbone|head)\.(.*)", r"\1"), (HOST_PARTS, None), *_CONFORMER_SHORTCUTS],
    ),
    Source("ResNet (torchvision, timm)", "ResNet", r"layer1\.0\.conv1\.weight"),
    Source(
        "ResNetV1d (mmpretrain, mmdet)",  # layer1 has no pooling to skip there
        "ResNet",
        r"backbone\.layer2\.0\.downsample\.2\.weight",
        [
            *_MMPRETRAIN_RESNET,
            (r"layer1\.0\.downsample\.1\.(.*)", r"layer1.0.downsample.2.\1"),
            (r"layer1\.0\.downsample\.0\.(.*)", r"layer1.0.downsample.1.\1"),
        ],
    ),
    Source(
        "ResNet (mmpretrain, mmdet; Barlow Twins, solo-learn)",
        "ResNet",
        r"backbone\.layer1\.0\.conv1\.weight",
        _MMPRETRAIN_RESNET,
    ),
    Source(
        "ResNet (Hugging Face transformers)",
        "ResNet",
        r"(resnet\.)?embedder\.embedder\.convolution\.weight",
        _HF_RESNET,
    ),
    Source("ConvNeXt (timm)", "ConvNeXt", r"stages\.0\.blocks\.0\.conv_dw\.weight"),
    Source(
        "ConvNeXt (authors)",
        "ConvNeXt",
        r"stages\.0\.0\.dwconv\.weight",
        _AUTHORS_CONVNEXT,
        finish=_flatten_scales,
    ),
    Source(
        "ConvNeXt (mmpretrain, mmdet)",
        "ConvNeXt",
        r"backbone\.stages\.0\.0\.depthwise_conv\.weight",
        _MMPRETRAIN_CONVNEXT,
        finish=_flatten_scales,
    ),
    Source(
        "ConvNeXt (torchvision)",
        "ConvNeXt",
        r"features\.1\.0\.layer_scale",
        _TORCHVISION_CONVNEXT,
        finish=_flatten_scales,
    ),
    Source(
        "ConvNeXt (Hugging Face transformers)",
        "ConvNeXt",
        r"(convnext(v2)?\.)?encoder\.stages\.0\.layers\.0\.dwconv\.weight",
        _HF_CONVNEXT,
        finish=_flatten_scales,
    ),
    Source("RegNet (timm)", "RegNet", r"s1\.b1\.conv1\.conv\.weight"),
    Source(
        "RegNet (torchvision)",
        "RegNet",
        r"trunk_output\.block1\.block1-0\.f\.a\.0\.weight",
        _TORCHVISION_REGNET,
    ),
    Source("EfficientNet, MobileNet (timm)", "EfficientNet", r"conv_stem\.weight"),
    Source(
        "EfficientNet (lukemelas)",
        "EfficientNet",
        r"_conv_stem\.weight",
        LUKEMELAS,
        norm_eps=1e-3,
        finish=number_stages,
    ),
    Source(
        "MobileNetV2 (torchvision)",
        "EfficientNet",
        r"features\.1\.conv\.0\.0\.weight",
        MOBILENET_V2,
    ),
    Source(
        "MobileNetV3 large (torchvision)",
        "EfficientNet",
        r"features\.16\.0\.weight",
        MOBILENET_V3_LARGE,
        norm_eps=1e-3,
        finish=linear_to_conv,
    ),
    Source(
        "MobileNetV3 small (torchvision)",
        "EfficientNet",
        r"features\.12\.0\.weight",
        MOBILENET_V3_SMALL,
        norm_eps=1e-3,
        finish=linear_to_conv,
    ),
    Source(
        "EfficientNet-B5 to B7 (torchvision)",
        "EfficientNet",
        r"features\.2\.4\.block\.2\.fc1\.weight",
        EFFICIENTNET,
        norm_eps=1e-3,
    ),
    Source(
        "EfficientNet (torchvision)",
        "EfficientNet",
        r"features\.2\.0\.block\.2\.fc1\.weight",
        EFFICIENTNET,
    ),
    Source(
        "EfficientNetV2 (torchvision)",
        "EfficientNet",
        r"features\.4\.0\.block\.2\.fc1\.weight",
        EFFICIENTNET_V2,
        norm_eps=1e-3,
    ),
)
