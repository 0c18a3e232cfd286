"""VT-ResNet: a ResNet whose last stage works on tokens (Wu et al. 2021, section 4)."""

from typing import NamedTuple

from torch import Tensor, nn

from robustnet_mm.arguments import (
    check_choice,
    check_dict,
    check_flag,
    check_init_cfg,
    check_names,
    check_whole,
)
from robustnet_mm.models.towers import TimmCNNTower
from robustnet_mm.models.towers.recompute import recompute
from robustnet_mm.registry import MODELS
from robustnet_mm.weights import LoadableModule, WeightsSpec

from .modules import TOKENIZERS, VTModule

# depth -> (modules, as many as the last stage has blocks; groups of a projector's query). Where the
# map has 1024 channels, the full query of two projectors would cost three times what the paper's
# whole stage does.
VARIANTS = {18: (2, 1), 34: (3, 1), 50: (3, 16), 101: (3, 16)}


class TokenOutputs(NamedTuple):
    """What a network of visual tokens gives to its head."""

    maps: tuple[Tensor, ...]  # (N, C, H, W) at strides 4, 8 and 16; the last as the modules left it
    tokens: Tensor  # (N, L, D) of the last module


@MODELS.register_module()
class VTResNet(LoadableModule):
    """timm's ResNet up to stride 16, then a `VTModule` for each block of its last stage.

    Its outputs are for `VTTokenHead`.

    Args:
        depth: 18, 34, 50 or 101.
        num_tokens: L.
        token_channels: Token width D.
        tokenizer: Of the first module: 'filter', 'cluster' or 'pooling'.
        recurrent: The other modules look for what the tokens before them say; False gives them
            filters, too (table 4).
        num_heads: Of the transformers.
        cnn: More of `TimmCNNTower` for stem and first three stages: `dict(frozen_stages=1,
            norm_eval=True, init_cfg=...)`; they load what a ResNet of that depth does.
        with_cp: Recompute blocks and modules in the backward pass to save memory.
        data_norm: See `RobustNet`.
        init_cfg: `dict(type='robustnet_mm.PretrainedTower', checkpoint=..., prefix='backbone.')`
            loads the whole network.

    Attributes:
        token_channels: Token width D, the head's `in_channels`.
        out_channels: Channels of the maps.

    Raises:
        ValueError: Another depth or tokenizer, heads that do not divide the width, or a `cnn` that
            is told its depth, levels or strides.
    """

    weights_spec = WeightsSpec("network")

    def __init__(
        self,
        depth: int,
        num_tokens: int = 16,
        token_channels: int = 1024,
        tokenizer: str = "filter",
        recurrent: bool = True,
        num_heads: int = 16,
        cnn: dict | None = None,
        with_cp: bool = False,
        data_norm: dict | None = None,
        init_cfg=None,
    ):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        if not isinstance(depth, int) or depth not in VARIANTS:
            known = ", ".join(map(str, VARIANTS))
            raise ValueError(f"depth must be one of {known}, got {depth!r}")
        check_choice("tokenizer", tokenizer, [n for n in TOKENIZERS if n != "recurrent"])
        check_flag("recurrent", recurrent)
        check_flag("with_cp", with_cp)
        check_whole("token_channels", token_channels, 1)
        more = {"data_norm": data_norm, **_checked({} if cnn is None else cnn)}
        self.cnn = TimmCNNTower(f"resnet{depth}", num_levels=3, with_cp=with_cp, **more)
        self.out_channels, self.token_channels = self.cnn.out_channels, token_channels
        self.with_cp = with_cp
        num_modules, groups = VARIANTS[depth]
        later = "recurrent" if recurrent else "filter"
        self.vt = nn.ModuleList(
            VTModule(
                self.out_channels[-1],
                token_channels,
                num_tokens,
                later if index else tokenizer,
                num_heads,
                groups,
                project=index < num_modules - 1,
            )
            for index in range(num_modules)
        )

    def forward(self, images: Tensor) -> TokenOutputs:
        """(N, 3, H, W) -> `TokenOutputs`

        Raises:
            ValueError: An image so small that its map has fewer pixels than there are tokens.
        """
        *maps, feat = self.cnn(images)
        tokens = None
        for module in self.vt:
            if self.with_cp and self.training:
                feat, (tokens, _) = recompute(module, [module], feat, tokens)
            else:
                feat, (tokens, _) = module(feat, tokens)
        return TokenOutputs((*maps, feat), tokens)

    def init_weights(self):
        """Load the ResNet's checkpoint, then that of the whole, if any."""
        self.cnn.init_weights()
        super().init_weights()

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """(depth, number of layers): the stem is 0, then blocks, then modules of tokens."""
        name = param_name.removeprefix(prefix)
        num_blocks = len(self.cnn.blocks)
        num_layers = num_blocks + len(self.vt) + 2
        part, _, rest = name.partition(".")
        if part == "cnn":
            return self.cnn.get_layer_depth(rest)[0], num_layers
        return num_blocks + int(rest.split(".")[0]) + 1, num_layers


def _checked(cnn: dict) -> dict:
    given = ("model_name", "num_levels", "with_cp", "type")
    check_dict("cnn", cnn, "dict(frozen_stages=1, init_cfg=...)")
    check_names("cnn", cnn, TimmCNNTower, given)
    if "output_stride" in (cnn.get("model_args") or {}):
        raise ValueError(
            "cnn.model_args of VTResNet must not have output_stride, got "
            f"{cnn['model_args']}: the tokens are made at stride 16"
        )
    return cnn
