"""The windows of mmpretrain's Swin as attention for a head."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import ShiftWindowMSA, WindowMSA
from torch import Tensor, nn

from .reader import Attention, Reader, check_control, chosen_blocks


class Windows:
    """How a `ShiftWindowMSA` cuts a map into windows.

    Args:
        module: It.
        grid: (h, w) of the map.
    """

    def __init__(self, module: ShiftWindowMSA, grid: tuple[int, int]):
        self.grid, self.size = grid, module.window_size
        whole = min(grid) == self.size and not module.pad_small_map
        self.shift = 0 if whole else module.shift_size
        self.padded = tuple(-(-side // self.size) * self.size for side in grid)

    def cut(self, tokens: Tensor) -> Tensor:
        """(N, h*w, C) -> (N, windows, size*size, C); the padding holds zeros."""
        feat = tokens.unflatten(1, self.grid)
        bottom, right = (p - side for p, side in zip(self.padded, self.grid, strict=True))
        feat = F.pad(feat, (0, 0, 0, right, 0, bottom)).roll((-self.shift,) * 2, (1, 2))
        found = ShiftWindowMSA.window_partition(feat, self.size)
        return found.flatten(1, 2).unflatten(0, (len(tokens), -1))

    def merge(self, windows: Tensor) -> Tensor:
        """(N, windows, size*size, C) -> (N, h*w, C)"""
        flat = windows.flatten(0, 1).unflatten(1, (self.size, self.size))
        feat = ShiftWindowMSA.window_reverse(flat, *self.padded, self.size)
        feat = feat.roll((self.shift,) * 2, (1, 2))[:, : self.grid[0], : self.grid[1]]
        return feat.flatten(1, 2)


class WindowAttention(Attention):
    """What patches attend to within the windows of some blocks of a stage.

    A window's matrix has no more than size^2 rows, so all are in memory: size^2 * h * w * heads.

    Args:
        blocks: For each block, the attention (N, windows, heads, l, l), its `Windows`, and which
            patches of a window see each other, (windows, l, l) bool; None: all.
        patch_size: (height, width) of a patch in pixels.
        control: None, 'uniform' or 'shuffled', among those that see each other.
    """

    def __init__(
        self,
        blocks: Sequence[tuple[Tensor, Windows, Tensor | None]],
        patch_size: tuple[int, int],
        control: str | None = None,
    ):
        self.grid, self.patch_size = blocks[0][1].grid, patch_size
        self.blocks = [(self._controlled(*block, control), block[1]) for block in blocks]

    def _controlled(self, found: Tensor, windows: Windows, seen, control: str | None) -> Tensor:
        """Over what is seen and no padding, rows sum to one."""
        real = windows.cut(found.new_ones(1, self.grid[0] * self.grid[1], 1))
        allowed = real[:, :, None].transpose(-2, -1).float()
        if seen is not None:
            allowed = allowed * seen[None, :, None]
        found = found.float()
        if control == "uniform":
            found = torch.ones_like(found)
        if control == "shuffled":
            seeded = torch.Generator().manual_seed(0)
            found = found[..., torch.randperm(found.size(-1), generator=seeded).to(found.device)]
        found = found * allowed
        total = found.sum(-1, keepdim=True)
        found = torch.where(total > 1e-6, found, allowed)  # all of it went where nothing is seen
        return found / found.sum(-1, keepdim=True).clamp_min(1e-12)

    def maps(self) -> Tensor:
        """As of `Attention`, of what patches receive in their windows."""
        maps = []
        for found, windows in self.blocks:
            real = windows.cut(found.new_ones(1, self.grid[0] * self.grid[1], 1))
            asking = real[:, :, None] * found  # padding asks nothing
            received = windows.merge(asking.sum(3).transpose(2, 3))
            maps.append(received.transpose(1, 2).unflatten(2, self.grid))
        return torch.cat(maps, 1)

    def spread(self, tokens: Tensor) -> Tensor:
        """As of `Attention`."""
        total = 0.0
        for found, windows in self.blocks:
            total = total + windows.merge(found.mean(2) @ windows.cut(tokens.float()))
        return (total / len(self.blocks)).to(tokens.dtype)


class WindowReader(Reader):
    """Of chosen blocks of a Swin of mmpretrain, which are counted over its stages.

    Args:
        backbone: A `SwinTransformer`.
        blocks: Numbers of blocks of one stage, from the end where they are negative.
        asked: 'received': there is no class token.
        control: As of `AttentionReader`.

    Raises:
        ValueError: No Swin, or one with with_cp; another question; blocks that are not there or of
            several stages.
    """

    def __init__(
        self,
        backbone: nn.Module,
        blocks: Sequence[int] = (-1,),
        asked: str = "received",
        control: str | None = None,
    ):
        check_control(control)
        known = [module for module in backbone.modules() if isinstance(module, ShiftWindowMSA)]
        if not known:
            raise ValueError(
                "attention needs a backbone with a robustnet_mm.ViTTower or an "
                f"mmpretrain.SwinTransformer, got {type(backbone).__name__}: take one, or a head "
                "without attention (SegformerHead)"
            )
        strange = {type(m.w_msa).__name__ for m in known if type(m.w_msa) is not WindowMSA}
        if strange:
            raise ValueError(
                f"windows of a SwinTransformer can be read, got {', '.join(strange)} in "
                f"{type(backbone).__name__}: take mmpretrain.SwinTransformer"
            )
        if asked != "received":
            raise ValueError(f"asked must be 'received' for a Swin, got {asked!r}")
        chosen = chosen_blocks(known, blocks)
        if len({module.w_msa.embed_dims for module in chosen}) > 1:
            raise ValueError(f"blocks of a Swin must be of one stage, got {blocks}")
        if any(getattr(block, "with_cp", False) for block in backbone.modules()):
            raise ValueError(
                "the attention of a Swin with with_cp=True has no gradients: set with_cp=False"
            )
        super().__init__([part for module in chosen for part in (module, module.w_msa)])
        self.chosen, self.control = chosen, control
        stride = backbone.patch_embed.projection.stride
        times = chosen[0].w_msa.embed_dims // backbone.embed_dims  # twice a stage
        self.patch_size = stride[0] * times, stride[1] * times

    def attention(self, outputs) -> WindowAttention:
        """Of the images that ran last; `outputs` are not looked at."""
        found = []
        for module in self.chosen:
            (tokens, grid), _ = self.taken(module)
            (windows,), kwargs = self.taken(module.w_msa)
            matrix = window_matrix(module.w_msa, windows, **kwargs)
            seen = None if kwargs.get("mask") is None else kwargs["mask"] == 0
            matrix = matrix.unflatten(0, (len(tokens), -1))
            found.append((matrix, Windows(module, tuple(grid)), seen))
        return WindowAttention(found, self.patch_size, self.control)


def window_matrix(attn: nn.Module, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The softmax of mmpretrain's `WindowMSA`: (N * windows, l, C) -> (N * windows, heads, l, l)"""
    q, k, _ = attn.qkv(x).unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    bias = attn.relative_position_bias_table[attn.relative_position_index]
    scores = q * attn.scale @ k.transpose(-2, -1) + bias.permute(2, 0, 1)
    if mask is not None:
        scores = scores.unflatten(0, (-1, len(mask))) + mask[None, :, None]
        scores = scores.flatten(0, 1)
    return scores.softmax(-1)
