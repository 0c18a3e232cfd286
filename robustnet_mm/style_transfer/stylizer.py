"""From a config and a checkpoint to a function on pictures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.device import get_device
from mmengine.registry import MODELS
from torch import Tensor

from robustnet_mm.arguments import check_choice, check_whole
from robustnet_mm.engine.launch import read_config
from robustnet_mm.weights import find_state_dict, load_into, read_checkpoint

from .colors import match_colors, with_luminance_of
from .model import RobustStyleTransfer
from .pixels import from_array, to_array, to_unit
from .transfer import EPS, Statistics

PRESERVE = ("luminance", "match")
_SMALLER = "a smaller tile, such as 512, or max_size"


class Stylizer:
    """Paints pictures, (H, W, 3) uint8 RGB.

        stylize = Stylizer("config.py", "iter_1000.pth")
        painted = stylize(content, [style], alpha=0.8)

    Args:
        config: Config of a `RobustStyleTransfer`.
        checkpoint: Its weights.
        cfg_options: What differs from the config.

    Raises:
        ValueError: The checkpoint does not fit, or the config is of another model.
        FileNotFoundError: No such file.
    """

    def __init__(self, config: str | Path, checkpoint: str | Path, cfg_options: dict | None = None):
        cfg = read_config(config, cfg_options)
        kind = str(cfg.get("model", {}).get("type"))
        if not kind.endswith("RobustStyleTransfer"):
            raise ValueError(f"config must be of a RobustStyleTransfer, got {kind}")
        weights = find_state_dict(read_checkpoint(checkpoint))
        self.model: RobustStyleTransfer = MODELS.build(dict(cfg.model, loss=None))
        load_into(self.model, weights, str(checkpoint))
        self.device = get_device()
        self.model.to(self.device).eval()

    def _tensor(self, picture: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, H, W) in 0..1"""
        _check_pixels("a picture", picture, (*getattr(picture, "shape", ())[:2], 3))
        return to_unit(from_array(picture).to(self.device))

    @torch.no_grad()
    def read_style(self, style: np.ndarray, size: int | None = None) -> Tensor:
        """What `paint` takes of a style, for many contents; `size` is its longer side in pixels.

        Raises:
            ValueError: No picture, or one that is smaller than a patch.
            MemoryError: The style did not fit.
        """
        with _fitting(style, "style_size, such as 512"):
            return self.model.read_style(self._tensor(shrink(style, size, "style_size")))

    @torch.no_grad()
    def paint(
        self,
        content: np.ndarray,
        styles: Sequence[Tensor],
        *,
        shares: Sequence[float] | None = None,
        alpha: float = 1.0,
        tile: int | None = None,
        overlap: int = 64,
    ) -> np.ndarray:
        """The content in styles that were read.

        Args:
            content: (H, W, 3) uint8, RGB.
            styles: Of `read_style`.
            shares: How much of each.
            alpha: 0 is the content as the decoder paints it, 1 the style in full.
            tile: Side in pixels of the pieces that are painted one by one, for pictures that do not
                fit into memory; None paints the whole.
            overlap: Pixels that neighbours share; they fade into each other there.

        Raises:
            ValueError: As `RobustStyleTransfer.paint`; or tiles that are not larger than twice the
                overlap.
            MemoryError: The picture did not fit.
        """
        height, width = content.shape[:2]
        total, weight = np.zeros((height, width, 3), np.float32), np.zeros((height, width, 1))
        spans = self.tiles(height, width, tile, overlap)
        whole = self._statistics(content, spans) if len(spans) > 1 and alpha > 0 else None
        for rows, columns in spans:
            piece = content[rows, columns]
            with _fitting(piece, _SMALLER):
                painted = self._painted(self._tensor(piece), styles, shares, alpha, whole)
            fade = _fade(rows, height, overlap)[:, None] * _fade(columns, width, overlap)
            total[rows, columns] += painted * fade[..., None]
            weight[rows, columns] += fade[..., None]
        return (total / weight).clip(0, 255).round().astype(np.uint8)

    def tiles(
        self, height: int, width: int, tile: int | None, overlap: int = 64
    ) -> list[tuple[slice, slice]]:
        """Rows and columns of the pieces in which `paint` paints a content.

        Where the tiles are large enough, they begin where the grids of both towers do: what does
        not, the towers see otherwise than in the whole.
        """
        step = 1
        if tile is not None:
            check_whole("overlap", overlap, 0)
            least = max(2 * overlap, self.model.least_side) + 1
            check_whole("tile", tile, least, also=f" (overlap is {overlap}, twice that must fit)")
            if self.model.grid_step <= tile - max(overlap, self.model.least_side):
                step = self.model.grid_step
        return list(tiles(height, width, tile, overlap, step))

    def _statistics(self, content: np.ndarray, spans) -> Statistics:
        """Of what is read of a content, piece by piece; where pieces overlap it counts for both."""
        total, squares, places = 0.0, 0.0, 0
        for rows, columns in spans:
            piece = content[rows, columns]
            with _fitting(piece, _SMALLER):
                feat = self.model.read_content(self._tensor(piece)).double()
            total = total + feat.sum((2, 3), keepdim=True)
            squares = squares + feat.square().sum((2, 3), keepdim=True)
            places += feat[0, 0].numel()
        mean = total / places
        std = ((squares / places - mean.square()).clamp_min(0) + EPS).sqrt()
        return mean.float(), std.float()

    def _painted(self, piece: Tensor, styles, shares, alpha, whole) -> np.ndarray:
        painted = self.model.paint(piece, styles, shares, alpha, whole)
        return 255 * to_array(painted[0].clamp(0, 1))

    def __call__(
        self,
        content: np.ndarray,
        styles: Sequence[np.ndarray | Tensor],
        *,
        mask: np.ndarray | None = None,
        preserve_color: str | None = None,
        max_size: int | None = None,
        style_size: int | None = None,
        **kwargs,
    ) -> np.ndarray:
        """The content in the styles, all pictures.

        Args:
            content: (H, W, 3) uint8, RGB.
            styles: Likewise, each of its own size; or as `read_style` gives them.
            mask: (H, W) uint8 of the content's size: 255 where the style is to be, 0 where the
                content stays as it is, greys between.
            preserve_color: 'luminance' takes the content's colours, 'match' gives the styles the
                content's colours first; None takes the styles' colours.
            max_size: Longer side in pixels to which a larger content is scaled down.
            style_size: The same for the styles: smaller ones give coarser strokes.
            kwargs: Of `paint`.

        Raises:
            ValueError: As `paint`; or a mask of another size, or an unknown way to keep colours.
        """
        if preserve_color is not None:
            check_choice("preserve_color", preserve_color, PRESERVE)
        if mask is not None:
            _check_pixels("mask", mask, np.shape(content)[:2])
        content = shrink(content, max_size)
        read = [
            style
            if isinstance(style, Tensor)
            else self._read(style, content, preserve_color, style_size)
            for style in styles
        ]
        painted = self.paint(content, read, **kwargs)
        if preserve_color == "luminance":
            painted = with_luminance_of(painted, content)
        return painted if mask is None else blend(content, painted, shrink(mask, max_size))

    def _read(self, style, content, preserve_color, size) -> Tensor:
        return self.read_style(
            match_colors(style, content) if preserve_color == "match" else style, size
        )


def _check_pixels(name: str, pixels: np.ndarray, shape: tuple[int, ...]):
    given = getattr(pixels, "shape", None), getattr(pixels, "dtype", type(pixels).__name__)
    if given != (shape, np.uint8) or not isinstance(pixels, np.ndarray):
        wanted = "(H, W, 3) uint8, RGB" if len(shape) == 3 else f"{shape} uint8, as the content"
        raise ValueError(f"{name} must be an array {wanted}, got {given[0]} {given[1]}")


@contextmanager
def _fitting(picture: np.ndarray, smaller: str) -> Iterator[None]:
    """Says what to do where memory is short."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
            if "allocate" not in str(error):
                raise
        size = f"{picture.shape[1]} x {picture.shape[0]}"
        raise MemoryError(
            f"a picture of {size} pixels does not fit into memory: give {smaller}"
        ) from error


def blend(content: np.ndarray, painted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The painted picture where the mask is 255, the content itself where it is 0."""
    share = mask[..., None] / 255
    return (share * painted + (1 - share) * content).round().astype(np.uint8)


def shrink(picture: np.ndarray, size: int | None, name: str = "max_size") -> np.ndarray:
    """Scaled down so that the longer side has at most `size` pixels, which `name` asks for."""
    if size is not None:
        check_whole(name, size, 16)
    if size is None or max(picture.shape[:2]) <= size:
        return picture
    scale = size / max(picture.shape[:2])
    sides = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, sides, interpolation=cv2.INTER_AREA)


def tiles(
    height: int, width: int, tile: int | None, overlap: int, step: int = 1
) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each piece: `tile` pixels, at the far borders up to a step fewer.

    Each begins at a multiple of `step`; neighbours share `overlap` pixels at least.
    """
    for rows in _spans(height, tile, overlap, step):
        for columns in _spans(width, tile, overlap, step):
            yield rows, columns


def _spans(length: int, tile: int | None, overlap: int, step: int) -> list[slice]:
    if tile is None or length <= tile:
        return [slice(0, length)]
    last = -(-(length - tile) // step) * step
    starts = [*range(0, last, (tile - overlap) // step * step), last]
    return [slice(start, min(start + tile, length)) for start in starts]


def _fade(span: slice, length: int, overlap: int) -> np.ndarray:
    """Weights of a piece along one side: rising from its inner borders, 1 in the middle."""
    size = span.stop - span.start
    places = np.arange(size) + 0.5
    left = np.ones(size) if span.start == 0 else (places / max(overlap, 1)).clip(0, 1)
    right = np.ones(size) if span.stop == length else (places[::-1] / max(overlap, 1)).clip(0, 1)
    return left * right
