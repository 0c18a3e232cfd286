"""A ViT's attention for a head, while both are trained: no more of it than the head asks for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from robustnet_mm.arguments import check_choice, check_whole
from robustnet_mm.models import RobustNet
from robustnet_mm.models.probe import vit_tower_of
from robustnet_mm.models.towers.vit_families import attention_parts, rows_of

ASKED = ("class", "received")
CONTROLS = (None, "uniform", "shuffled")
CHUNK = 256  # queries whose rows are in memory at a time; the backward pass makes them again


class Attention(ABC):
    """What patches attend to, for a head.

    Attributes:
        grid: (h, w) of the patches.
        patch_size: (height, width) of a patch in pixels of the image.
    """

    grid: tuple[int, int]
    patch_size: tuple[int, int]

    @abstractmethod
    def maps(self) -> Tensor:
        """A map for each head of each block, 1 where attention is uniform: (N, K, h, w)."""

    @abstractmethod
    def spread(self, tokens: Tensor) -> Tensor:
        """Each patch takes the mean of what it attends to, over heads and blocks: (N, h*w, C)."""


class TokenAttention(Attention):
    """What the patch tokens of a ViT attend to in some blocks, and are attended to.

    Args:
        rows: For each block, `rows(slice)` -> (N, heads, R, L): what the tokens of the slice attend
            to, which sums to one.
        num_prefix: P, class and register tokens, which stand before the patch tokens.
        grid: (h, w) of the patch tokens; L = P + h*w.
        asked: 'class', what the class token attends to; or 'received', what the patches attend to
            on average.
        patch_size: (height, width) of a patch in pixels.
        real: Which patches hold some of their image, (N, h*w) bool; None: all. Nothing attends to
            the others, and what they attend to does not count.
    """

    def __init__(
        self,
        rows: Sequence[Callable[[slice], Tensor]],
        num_prefix: int,
        grid: tuple[int, int],
        asked: str = "class",
        patch_size: tuple[int, int] = (1, 1),
        real: Tensor | None = None,
    ):
        self.rows, self.num_prefix, self.grid, self.asked = rows, num_prefix, grid, asked
        self.patch_size, self._maps = patch_size, None
        self.real = torch.ones(1, grid[0] * grid[1]) if real is None else real.float()

    def patches(self, rows: Callable, queries: slice) -> Tensor:
        """Rows of a block over patches alone, which sum to one: (N, heads, R, h*w)"""
        found = rows(queries)[..., self.num_prefix :].float()
        return found / found.sum(-1, keepdim=True).clamp_min(1e-12)

    def chunks(self) -> Iterator[slice]:
        """The tokens of the patches, some at a time."""
        length = self.num_prefix + self.grid[0] * self.grid[1]
        for start in range(self.num_prefix, length, CHUNK):
            yield slice(start, min(start + CHUNK, length))

    def _spread(self, rows: Callable, queries: slice, tokens: Tensor) -> Tensor:
        return self.patches(rows, queries).mean(1) @ tokens

    def _received(self, rows: Callable, queries: slice) -> Tensor:
        asking = self.real[:, queries.start - self.num_prefix : queries.stop - self.num_prefix]
        found = self.patches(rows, queries)
        return (found * asking.to(found.device)[:, None, :, None]).sum(2)

    def maps(self) -> Tensor:
        """As of `Attention`, of the class token or of what patches receive; made once."""
        if self._maps is None:
            self._maps = self._made()
        return self._maps

    def _made(self) -> Tensor:
        found, number = [], self.real.sum(1)[:, None, None]
        for rows in self.rows:
            if self.asked == "class":
                row = self.patches(rows, slice(0, 1))[:, :, 0]
                found.append(row * number.to(row.device))
            else:
                parts = (
                    checkpoint(self._received, rows, chunk, use_reentrant=False)
                    for chunk in self.chunks()
                )
                found.append(sum(parts))
        return torch.cat(found, 1).unflatten(2, self.grid)

    def spread(self, tokens: Tensor) -> Tensor:
        """As of `Attention`."""
        total = 0.0
        for rows in self.rows:
            parts = [
                checkpoint(self._spread, rows, chunk, tokens.float(), use_reentrant=False)
                for chunk in self.chunks()
            ]
            total = total + torch.cat(parts, 1)
        return (total / len(self.rows)).to(tokens.dtype)


class UniformAttention(TokenAttention):
    """A control: every patch attends to every patch alike."""

    def _shares(self) -> Tensor:
        return self.real / self.real.sum(1, keepdim=True)

    def patches(self, rows: Callable, queries: slice) -> Tensor:
        """The same everywhere, but in the padding."""
        found = super().patches(rows, queries)
        return self._shares().to(found.device)[:, None, None].expand_as(found)

    def maps(self) -> Tensor:
        """Ones, and zeros in the padding."""
        found = super().maps()
        return self.real.to(found.device).unflatten(1, self.grid)[:, None].expand_as(found)

    def spread(self, tokens: Tensor) -> Tensor:
        """The mean of all patches."""
        mean = (tokens * self._shares().to(tokens)[:, :, None]).sum(1, keepdim=True)
        return mean.expand_as(tokens)


class ShuffledAttention(TokenAttention):
    """A control: the same attention, to patches of other places (the same shuffle each time)."""

    def patches(self, rows: Callable, queries: slice) -> Tensor:
        found = super().patches(rows, queries)
        seeded = torch.Generator().manual_seed(0)
        return found[..., torch.randperm(found.size(-1), generator=seeded).to(found.device)]


KINDS = {None: TokenAttention, "uniform": UniformAttention, "shuffled": ShuffledAttention}


class Reader(ABC):
    """Reads what modules of a backbone are called with while it runs, with its gradients.

        with reader:
            outputs = backbone(images)
        reader.attention(outputs).maps()

    Of each module its input is kept, and what is asked for is made of it.

    Args:
        modules: Those that are read.
    """

    def __init__(self, modules: Sequence[nn.Module]):
        self.modules = list(modules)
        self._seen: dict[nn.Module, tuple] = {}

    def _see(self, module: nn.Module, args, kwargs):
        self._seen[module] = args, kwargs

    def __enter__(self):
        self._seen.clear()
        self._handles = [
            module.register_forward_pre_hook(self._see, with_kwargs=True) for module in self.modules
        ]
        return self

    def __exit__(self, error, *_):
        for handle in self._handles:
            handle.remove()
        if error is not None:
            self._seen.clear()

    def taken(self, module: nn.Module) -> tuple[tuple, dict]:
        """Arguments of its last call, which are forgotten, and with them the graph of the pass."""
        return self._seen.pop(module)

    @abstractmethod
    def attention(self, outputs) -> Attention:
        """Of the images that ran last; `outputs` are the backbone's."""


class AttentionReader(Reader):
    """Of chosen blocks of a ViT tower.

    Args:
        backbone: A `RobustNet` or a `ViTTower`.
        blocks: Numbers of blocks of the ViT, from the end where they are negative.
        asked: See `TokenAttention`.
        control: None, or what stands in its place: 'uniform' or 'shuffled'.

    Raises:
        ValueError: No ViT, no such block, one that attends within windows, or no class token.
    """

    def __init__(
        self,
        backbone: nn.Module,
        blocks: Sequence[int] = (-1,),
        asked: str = "class",
        control: str | None = None,
    ):
        check_choice("asked", asked, ASKED)
        check_control(control)
        if isinstance(backbone, RobustNet) and backbone.out_type != "towers":
            raise ValueError(
                f"attention needs the tokens of a RobustNet, got out_type={backbone.out_type!r}: "
                "set out_type='towers', and neck=dict(type='robustnet_mm.TowerNeck', ...)"
            )
        vit = vit_tower_of(backbone)
        if vit is None:
            raise ValueError(
                f"attention needs a backbone with a robustnet_mm.ViTTower, got "
                f"{type(backbone).__name__}: take one, or a head without attention (SegformerHead)"
            )
        if asked == "class" and not vit.has_class_token:
            raise ValueError("asked='class' needs a ViT with a class token: set asked='received'")
        super().__init__(block.attn for block in chosen_blocks(vit.blocks, blocks))
        self.vit, self.asked, self.control = vit, asked, control

    def attention(self, outputs) -> TokenAttention:
        """Of the images that ran last; `outputs` end with (h, w), the grid of their patch tokens.

        Raises:
            ValueError: A block attends within windows.
        """
        grid = tuple(outputs[-1])
        length = self.vit.num_prefix_tokens + grid[0] * grid[1]
        rows, real = [], None
        for module in self.modules:
            args, kwargs = self.taken(module)
            if args[0].size(1) != length:
                raise ValueError(
                    "blocks must be global, got one that attends within windows: name one of "
                    "global_blocks"
                )
            parts = attention_parts(module, *args, **kwargs)
            rows.append(partial(rows_of, *parts))
            real = _real_patches(parts[2], self.vit.num_prefix_tokens)
        kind, prefix = KINDS[self.control], self.vit.num_prefix_tokens
        return kind(rows, prefix, grid, self.asked, self.vit.patch_size, real)


def _real_patches(bias: Tensor | None, num_prefix: int) -> Tensor | None:
    """Of what a block masks, (N, 1, 1, L) bool, the patches that are no padding: (N, h*w)"""
    if bias is None or bias.dtype != torch.bool:
        return None
    return bias[:, 0, 0, num_prefix:]


def reader_of(backbone: nn.Module, **settings) -> Reader:
    """The reader for a backbone: an `AttentionReader`, or of a Swin of mmpretrain a `WindowReader`.

    Args:
        backbone: A `RobustNet`, a `ViTTower`, or a Swin.
        settings: Of the reader: `blocks`, `asked`, `control`.

    Raises:
        ValueError: Another backbone, or settings that do not fit it.
    """
    if vit_tower_of(backbone) is None and find_spec("mmpretrain"):
        from .windows import WindowReader  # imports mmpretrain

        return WindowReader(backbone, **settings)
    return AttentionReader(backbone, **settings)


def check_control(control: str | None) -> None:
    """Raises: ValueError, of what is no control."""
    if control not in CONTROLS:
        raise ValueError(f"control must be None, 'uniform' or 'shuffled', got {control!r}")


def chosen_blocks(known: Sequence[nn.Module], blocks: Sequence[int]) -> list[nn.Module]:
    """Those of these numbers, which count from the end where they are negative.

    Raises:
        ValueError: No block, one twice, or one that is not there.
    """
    number = len(known)
    for block in blocks:
        check_whole("each of blocks", block, -number, number - 1)
    if not blocks or len({block % number for block in blocks}) < len(blocks):
        raise ValueError(f"blocks must name one block or more, each once, got {blocks}")
    return [known[block] for block in blocks]
