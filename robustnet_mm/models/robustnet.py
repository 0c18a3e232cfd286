"""RobustNet: a pretrained CNN and a pretrained ViT, woven by Feature Interaction Units.

From the paper "RobustVision: Making CNN and ViT Good Friends with Pre-Trained Vision Models"
(2022), section 4. At the start, when every exchange still adds zero, it computes exactly what the
two networks compute alone.
"""

from typing import NamedTuple

from torch import Tensor, nn

from robustnet_mm.arguments import (
    as_tuple,
    check_choice,
    check_dict,
    check_flag,
    check_init_cfg,
    check_names,
    check_rate,
)
from robustnet_mm.registry import MODELS
from robustnet_mm.weights import LoadableModule, WeightsSpec

from .fiu import DIRECTIONS, FIU, FORMS, FUSES
from .sized_images import own_sizes
from .towers import CNNTower, TransformerTower
from .towers.recompute import recompute
from .weave import Step, pair_blocks, schedule

# arch -> (arch of the CNN tower, model_name of the ViT tower in timm, its model_args)
VARIANTS = {
    "nano": ("nano", "deit_tiny_patch16_224", dict(depth=4, embed_dim=96, num_heads=3)),
    "tiny-patch16": ("conformer_tiny", "deit_tiny_patch16_224", None),
    "small-patch16": ("conformer_small", "vit_base_patch16_224.mae", None),  # the paper's RN-small
    "large-patch16": ("conformer_base", "vit_large_patch16_224.mae", None),  # the paper's RN-large
    "base-patch14": ("conformer_base", "vit_huge_patch14_224.mae", None),  # the paper's RN-base
}
_EXAMPLES = dict(
    cnn="dict(type='robustnet_mm.TimmCNNTower', model_name='resnet50')",
    vit="dict(type='robustnet_mm.ViTTower', model_name='vit_base_patch16_224')",
)


class TowerOutputs(NamedTuple):
    """What a woven network gives to heads and necks."""

    maps: tuple[Tensor, ...]  # the CNN's pyramid, finest first, each (N, C, H, W)
    tokens: Tensor  # (N, P + h*w, D), before the ViT's final norm; prefix tokens first
    grid: tuple[int, int]  # (h, w) of the patch tokens


@MODELS.register_module()
class RobustNet(LoadableModule):
    """Two towers and the exchanges between them.

    Args:
        arch: A row of `VARIANTS`, or None where `cnn` and `vit` name both towers.
        cnn: Config of the CNN tower; with `arch`, what differs from its row.
        vit: Config of the ViT tower; with `arch`, what differs from its row.
        weave: Where the exchanges are: 'paper', 'even' or pairs (u, v); see `pair_blocks`.
        direction: 'both', 'cnn_to_vit', 'vit_to_cnn', or 'none' for two towers that do not
            interact (the ensemble control); or a list of the first three, one for each exchange.
        form: What an exchange is made of: 'zero_linear', a norm and a linear layer that starts at
            zero; 'ungated', the paper's unit, without an exact start; 'gated', the same with zero
            gates behind it; 'tokens', by way of 16 visual tokens in place of pooling to the grid.
        fuse: 'sum' adds what an FIU says; 'attention' is the paper's additive attention, which adds
            a share of it.
        drop_exchange: In training, the chance that an image goes without one side of an exchange.
        detach_exchanges: Stop gradients at the exchanges: a tower reads the other's features, and
            no gradient flows back into the other tower.
        data_norm: `dict(mean=..., std=...)` in pixel values 0..255: what the data preprocessor
            did, ImageNet's by default. Each tower converts to what its weights were trained with.
        with_cp: Recompute in the backward pass to save memory, exchange by exchange: each CNN
            block with the FIU and the transformer blocks that follow it.
        out_type: 'towers' gives `TowerOutputs`; 'pyramid' gives the tuple of CNN maps, for any
            neck of the hosts, and drops the transformer blocks that cannot reach them.
        init_cfg: `dict(type='robustnet_mm.PretrainedTower', checkpoint=..., prefix='backbone.')`
            loads the whole woven network, after the towers' own checkpoints.

    Attributes:
        exchanges: The pairs (u, v), in order; `fius[k]` serves `exchanges[k]`.
        out_channels: Channels of the pyramid's maps.
        out_strides: Their strides in pixels.
        embed_dims: Token width D.

    Raises:
        ValueError: Unknown name, or settings that leave a tower without use.
    """

    def __init__(
        self,
        arch: str | None = None,
        cnn: dict | None = None,
        vit: dict | None = None,
        weave: str | list = "paper",
        direction: str | list[str] = "both",
        form: str = "zero_linear",
        fuse: str = "sum",
        drop_exchange: float = 0.0,
        detach_exchanges: bool = False,
        data_norm: dict | None = None,
        with_cp: bool = False,
        out_type: str = "towers",
        init_cfg=None,
    ):
        super().__init__(init_cfg)
        check_init_cfg(self, init_cfg)
        check_choice("form", form, FORMS)
        check_choice("fuse", fuse, FUSES)
        check_choice("out_type", out_type, ("towers", "pyramid"))
        check_rate("drop_exchange", drop_exchange)
        check_flag("with_cp", with_cp)
        check_flag("detach_exchanges", detach_exchanges)
        cnn, vit = _tower_configs(arch, cnn, vit)
        self.cnn, self.vit = (
            _build_tower(name, cfg, data_norm) for name, cfg in (("cnn", cnn), ("vit", vit))
        )
        self.out_type, self.with_cp = out_type, with_cp
        self.out_channels, self.out_strides = self.cnn.out_channels, self.cnn.out_strides
        self.embed_dims = self.vit.embed_dims
        self._make_exchanges(weave, direction, form, fuse, drop_exchange, detach_exchanges)
        if out_type == "pyramid":
            self._end_with_the_last_exchange(direction)
        if detach_exchanges and (not self.exchanges or out_type == "pyramid"):
            self._refuse_to_detach(direction, out_type)
        self._decide_the_order()

    def _make_exchanges(self, weave, direction, *settings):
        pairs = pair_blocks(len(self.cnn.blocks), len(self.vit.blocks), weave)
        if direction == "none":
            pairs = []
        elif not pairs:
            self._refuse_to_weave(weave)
        directions = _directions(direction, len(pairs))
        self.exchanges = pairs
        self.fius = nn.ModuleList(
            self._make_fiu(u, way, *settings) for (u, _), way in zip(pairs, directions, strict=True)
        )
        self.weights_spec = WeightsSpec("network", dropped=_absent_keys(directions))

    def _decide_the_order(self):
        num_cnn, num_vit = len(self.cnn.blocks), len(self.vit.blocks)
        self.steps, self.last_vit_blocks = schedule(num_cnn, num_vit, self.exchanges)

    def _refuse_to_weave(self, weave):
        raise ValueError(
            "the towers cannot meet: an exchange needs 2 CNN blocks and 1 transformer block "
            f"(weave={weave!r}: 3 and 2), the CNN has {len(self.cnn.blocks)} and the ViT "
            f"{len(self.vit.blocks)}: take deeper towers, weave=[(0, 0)], or direction='none'"
        )

    def _refuse_to_detach(self, direction, out_type: str):
        raise ValueError(
            "detach_exchanges=True needs exchanges and, because no gradient reaches the ViT "
            "through them, out_type='towers' with a head or a TowerNeck that reads it, got "
            f"direction={direction!r} and out_type={out_type!r}"
        )

    def _end_with_the_last_exchange(self, direction: str):
        """Without tokens among the outputs, nothing reads what later transformer blocks make."""
        if not self.exchanges or self.fius[-1].expand is None:
            raise ValueError(
                f"out_type='pyramid' with direction={direction!r} and {len(self.exchanges)} "
                "exchanges leaves the end of the ViT without use: take direction='both' or "
                "'vit_to_cnn', or out_type='towers' with a TowerNeck, or a CNN tower alone"
            )
        self.vit.truncate(self.exchanges[-1][1] + 1)

    def _make_fiu(self, u: int, *settings) -> FIU:
        squeezed, guided = self.cnn.blocks[u], self.cnn.blocks[u + 1]
        widths = (squeezed.detail_channels, guided.guide_channels, self.embed_dims)
        return FIU(*widths, *settings)

    def forward(self, images: Tensor, sizes=None) -> TowerOutputs | tuple[Tensor, ...]:
        """The weave: (N, 3, H, W) -> `TowerOutputs`, or the maps for out_type='pyramid'.

        `sizes` are those of the images before they were padded to a batch, which `SizedImages`
        bring along; see `ViTTower.embed`.
        """
        images, sizes = own_sizes(images, sizes)
        feat, (tokens, positions) = self.cnn.stem(images), self.vit.embed(images, sizes)
        maps, guide = [], None
        for step in self.steps:
            run = self._recomputed if self.with_cp and self.training else self._run
            feat, guide, tokens = run(step, feat, guide, tokens, positions)
            if step.block in self.cnn.level_ends:
                maps.append(feat.contiguous())
        for v in self.last_vit_blocks:
            tokens = self.vit.run(v, tokens, positions)
        outputs = TowerOutputs(tuple(maps), tokens, positions.grid)
        return outputs.maps if self.out_type == "pyramid" else outputs

    def _run(self, step: Step, feat, guide, tokens: Tensor, positions):
        """A CNN block, and the exchange after it: squeeze, transformer block, expand."""
        feat, detail = self.cnn.run(step.block, feat, guide)
        if step.exchange is None:
            return feat, None, tokens
        fiu, (*alone, v) = self.fius[step.exchange], step.vit_blocks
        for index in alone:
            tokens = self.vit.run(index, tokens, positions)
        tokens = fiu.into_tokens(tokens, detail, positions.grid)
        tokens = self.vit.run(v, tokens, positions)
        return feat, fiu.guide(tokens, detail, positions.grid), tokens

    def _recomputed(self, step: Step, *args):
        parts = [self.cnn.blocks[step.block], *(self.vit.blocks[v] for v in step.vit_blocks)]
        parts += [] if step.exchange is None else [self.fius[step.exchange]]
        return recompute(self._run, parts, step, *args)

    def init_weights(self):
        """Load each tower's checkpoint, then that of the whole, if any."""
        self.cnn.init_weights()
        self.vit.init_weights()
        super().init_weights()

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """(depth, number of layers) in the parameter's own tower; an FIU counts as on top."""
        tower, _, rest = param_name.removeprefix(prefix).partition(".")
        if tower in ("cnn", "vit"):
            return getattr(self, tower).get_layer_depth(rest)
        num_layers = len(self.vit.blocks) + 2
        return num_layers - 1, num_layers


def _directions(direction: str | list[str], num_exchanges: int) -> list[str]:
    """That of each exchange."""
    if (ways := as_tuple(direction)) is None:
        check_choice("direction", direction, DIRECTIONS)
        return [direction] * num_exchanges
    known = [way for way in DIRECTIONS if way != "none"]
    for way in ways:
        check_choice("each of direction", way, known)
    if len(ways) != num_exchanges:
        raise ValueError(
            f"direction must name one of {', '.join(known)} for each of {num_exchanges} "
            f"exchanges, or one for all, got {len(ways)}"
        )
    return list(ways)


def _absent_keys(directions: list[str]) -> tuple[str, ...]:
    """Beginnings of the keys that a file of both directions has beyond those of this network."""
    if not directions:
        return ("fius.",)
    names = dict(cnn_to_vit="expand", vit_to_cnn="squeeze")
    return tuple(f"fius.{k}.{names[way]}" for k, way in enumerate(directions) if way in names)


def _tower_configs(arch: str | None, cnn: dict | None, vit: dict | None) -> tuple[dict, dict]:
    """The configs of both towers, from a row of the table, from the arguments, or merged."""
    for name, cfg in (("cnn", cnn), ("vit", vit)):
        if cfg is not None:
            check_dict(name, cfg, _EXAMPLES[name])
    if arch is None:
        if cnn is None or vit is None:
            raise ValueError(
                f"RobustNet needs arch (one of {', '.join(VARIANTS)}) or both cnn and vit, "
                f"got cnn={cnn}, vit={vit}"
            )
        return cnn, vit
    check_choice("arch", arch, VARIANTS)
    conv_arch, model_name, model_args = VARIANTS[arch]
    row_cnn = dict(type="robustnet_mm.ConvTower", arch=conv_arch)
    row_vit = dict(type="robustnet_mm.ViTTower", model_name=model_name, model_args=model_args)
    return _override(row_cnn, cnn), _override(row_vit, vit)


def _build_tower(name: str, cfg: dict, data_norm: dict | None) -> nn.Module:
    kind = cfg.get("type")
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    places = dict(cnn=CNNTower, vit=TransformerTower)
    fits = [at for at, base in places.items() if isinstance(kind, type) and issubclass(kind, base)]
    if fits != [name]:
        examples = dict(cnn="ConvTower' or 'robustnet_mm.TimmCNNTower", vit="ViTTower")
        step = f", which goes into {fits[0]}" if fits else ""
        raise ValueError(
            f"{name}.type must be a registered tower such as 'robustnet_mm.{examples[name]}', got "
            f"{cfg.get('type')!r}{step}"
        )
    check_names(name, cfg, kind)
    return MODELS.build({"data_norm": data_norm, **cfg})


def _override(row: dict, changes: dict | None) -> dict:
    """A tower of another type is taken whole; of the same type, its changes win.

    `model_args` are merged too, unless they belong to another `model_name`.
    """
    changes = dict(changes or {})
    if changes.get("type", row["type"]) != row["type"]:
        return changes
    if "model_args" in row and changes.get("model_name", row["model_name"]) == row["model_name"]:
        own = changes.get("model_args")
        check_dict("model_args", {} if own is None else own, "dict(drop_path_rate=0.1)")
        changes["model_args"] = {**(row["model_args"] or {}), **(own or {})}
    else:
        row = {key: value for key, value in row.items() if key != "model_args"}
    return {**row, **changes}
