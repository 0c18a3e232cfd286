"""Finding things inside a model: its towers, its modules by name, its tokens' layout."""

from difflib import get_close_matches

import torch
from torch import Tensor, nn

from robustnet_mm.models import RobustNet, ViTTower
from robustnet_mm.models.probe import backbone_of, vit_tower_of
from robustnet_mm.models.towers import CNNTower
from robustnet_mm.models.towers.positions import Positions
from robustnet_mm.visual_tokens import VTResNet


def towers_of(model: nn.Module) -> tuple[CNNTower | None, ViTTower | None]:
    """CNN and ViT of a woven backbone, or the one tower that is the backbone; None for others."""
    backbone = backbone_of(model)
    cnn = backbone.cnn if isinstance(backbone, RobustNet | VTResNet) else backbone
    return cnn if isinstance(cnn, CNNTower) else None, vit_tower_of(backbone)


def vit_of(model: nn.Module) -> ViTTower:
    """The ViT tower of a model.

    Raises:
        ValueError: It has none.
    """
    backbone, (_, vit) = backbone_of(model), towers_of(model)
    if vit is None:
        raise ValueError(
            "attention needs a backbone with a robustnet_mm.ViTTower, got "
            f"{type(backbone).__name__}: take a config with a ViT tower, or `cam` or `features`"
        )
    return vit


def find_module(model: nn.Module, name: str) -> nn.Module:
    """A module by its name in `named_modules`.

    Raises:
        ValueError: No such module; names the closest.
    """
    known = dict(model.named_modules())
    if name not in known or not name:
        close = get_close_matches(name, known, n=5, cutoff=0.3)
        raise ValueError(
            f"module must be a name of model.named_modules(), got {name!r}; close to it: "
            f"{', '.join(close) or 'none'}"
        )
    return known[name]


def find_block(num_blocks: int, block: int) -> int:
    """The number of a block, counted from the end where it is negative.

    Raises:
        ValueError: There is no such block; names the closest.
    """
    if not -num_blocks <= block < num_blocks:
        close = [n for n in (num_blocks - 2, num_blocks - 1) if n >= 0] if block >= 0 else [0]
        raise ValueError(
            f"block must be in 0..{num_blocks - 1} (or -{num_blocks}..-1 from the end), got "
            f"{block}; closest: {', '.join(map(str, close))}"
        )
    return block % num_blocks


def default_names(model: nn.Module) -> list[str]:
    """Names of the first and last block of each CNN stage and of the ViT; other backbones: stages.

    Raises:
        ValueError: A backbone whose stages are not known.
    """
    backbone = backbone_of(model)
    names = {id(module): name for name, module in model.named_modules()}
    cnn, vit = towers_of(model)
    chosen = []
    if cnn is not None:
        starts = [0, *(end + 1 for end in cnn.level_ends[:-1])]
        chosen += [cnn.blocks[u] for u in sorted({*starts, *cnn.level_ends})]
    if vit is not None:
        chosen += [vit.blocks[v] for v in sorted({0, len(vit.blocks) - 1})]
    if cnn is None and vit is None:
        stages = [getattr(backbone, name) for name in getattr(backbone, "res_layers", ())]
        chosen += [stage[index] for stage in stages for index in sorted({0, len(stage) - 1})]
    if not chosen:
        raise ValueError(
            f"the stages of {type(backbone).__name__} are not known: name modules, such as "
            f"{', '.join([name for name, _ in model.named_modules() if name][:5])}"
        )
    return [names.get(id(block)) or names[id(_last_part(block.body))] for block in chosen]


def _last_part(body: nn.Module) -> nn.Module:
    """A block of `TimmCNNTower` is no module of the model: what runs last in it is."""
    return body[-1] if type(body) is nn.Sequential else body


class Layout:
    """Where the tokens of an image stand.

    Args:
        vit: The tower.
        images: (N, 3, H, W), with their sizes if they have any.

    Attributes:
        grid: (h, w) of the patch tokens.
        num_prefix: P, class and register tokens.
        has_class_token: Whether the first of them is a class token.
        patch_size: (height, width) in pixels.
    """

    def __init__(self, vit: ViTTower, images: Tensor):
        with torch.no_grad():
            self._positions: Positions = vit.embed(images)[1]
        self.grid, self.num_prefix = self._positions.grid, vit.num_prefix_tokens
        self.has_class_token = vit.has_class_token
        self.patch_size = vit.patch_size

    def whole(self, tokens: Tensor) -> Tensor:
        """Tokens of windows -> those of the image: (N * windows, P + s*t, D) -> (N, P + h*w, D)."""
        windows, share = self._positions.windows, self._positions.window_share
        length = self.num_prefix + self.grid[0] * self.grid[1]
        if windows is None or tokens.size(1) == length:
            return tokens
        return windows.merge(tokens, share)

    def to_map(self, tokens: Tensor) -> Tensor:
        """Any of the ViT's tokens, with or without prefix tokens, -> (N, D, h, w)."""
        num_patches = self.grid[0] * self.grid[1]
        if tokens.size(1) != num_patches:
            tokens = self.whole(tokens)
        return tokens[:, -num_patches:].transpose(1, 2).unflatten(2, self.grid)

    def assemble(self, attention: Tensor) -> Tensor:
        """Attention of windows -> of the image, (N * windows, heads, l, l) -> (N, heads, L, L).

        A patch attends within its window; the image's prefix tokens are the mean of the windows'.
        """
        windows, share = self._positions.windows, self._positions.window_share
        length = self.num_prefix + self.grid[0] * self.grid[1]
        if windows is None or attention.size(-1) == length:
            return attention
        numbers = torch.arange(1, 1 + self.grid[0] * self.grid[1], device=attention.device)
        numbers = windows.cut(numbers[None, :, None])[0, ..., 0]  # (windows, s*t), 0 is padding
        each = attention.unflatten(0, (-1, len(numbers)))
        found = attention.new_zeros(len(each), attention.size(1), length, length)
        prefix = self.num_prefix
        for index, own in enumerate(numbers):
            places = torch.cat([torch.arange(prefix, device=own.device), own + prefix - 1])
            real = torch.cat([torch.ones(prefix, device=own.device).bool(), own > 0])
            places, block = places[real], each[:, index][..., real, :][..., real]
            weight = 1 / len(numbers) if share is None else share[:, index, None]
            block = torch.cat([block[..., :prefix, :] * weight, block[..., prefix:, :]], dim=-2)
            found[..., places[:, None], places] += block
        return found
