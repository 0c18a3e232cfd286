"""Pairs of a content and a style, from two folders."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Dataset, Sampler

from robustnet_mm.arguments import check_choice, check_flag, check_whole, check_wholes
from robustnet_mm.datasets import IMAGE_SUFFIXES, LoadImage
from robustnet_mm.datasets.pictures import pictures_in
from robustnet_mm.registry import DATA_SAMPLERS, DATASETS

from .pixels import from_array
from .preprocessor import StyleSample

PAIRS = ("random", "product", "aligned")
LONGEST = 32  # times the shorter side
DRAWS = 2**32  # the draws of a training have numbers below
_NAMES = ("content_path", "style_path")


def pictures_of(name: str, place: str | Path | Sequence[str | Path]) -> list[str]:
    """The pictures of a folder and of those below it, sorted; or a list of files as it is.

    Raises:
        ValueError: There are none; `name` says of what.
    """
    if not isinstance(place, str | Path):
        found = [str(path) for path in place]
    elif Path(place).is_dir():
        found = pictures_in(place)
    else:
        raise ValueError(
            f"{name} must be a folder of pictures or a list of files, got {place!r}: set it (by "
            f"{name.upper()}S or TEST_{name.upper()}S in the configs of this package)"
        )
    if not found:
        raise ValueError(
            f"{name} has no pictures in {place}: the folder must hold {', '.join(IMAGE_SUFFIXES)}"
        )
    return found


def recolored(picture: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A painting in other colours: (3, H, W) uint8 -> the same.

    Saturation from grey to one and a half, a gain and an offset that the channels share and one of
    their own; one in five is a negative.
    """
    pixels = picture.float() / 255
    grey = pixels.mean(0, keepdim=True)
    pixels = grey + rng.uniform(0, 1.5) * (pixels - grey)
    gain = np.exp(rng.uniform(-0.5, 0.5) + rng.uniform(-0.25, 0.25, 3))
    offset = rng.uniform(-0.15, 0.15) + rng.uniform(-0.15, 0.15, 3)
    gain, offset = (torch.from_numpy(each).float().view(3, 1, 1) for each in (gain, offset))
    pixels = (pixels - 0.5) * gain + 0.5 + offset
    if rng.random() < 0.2:
        pixels = 1 - pixels
    return (255 * pixels.clamp(0, 1)).round().byte()


@lru_cache(maxsize=2)  # at the end of a turn workers are in two
def _order(seed: int, turn: int, number: int) -> np.ndarray:
    """In which the contents come in this turn through them all."""
    return np.random.default_rng([seed, turn]).permutation(number)


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler):
    """Numbers the draws of a training, without end: `(1 + seed) * DRAWS + k` for k = 0, 1, 2, ...

    What the k-th draw is depends on nothing else, so a training that was resumed, has other workers
    or other processes sees the same pairs.

    Args:
        dataset: A `ContentStyleDataset` with random pairs.
        seed: That of the run by default; `EpochSeedHook` sets it, too.
    """

    def __init__(self, dataset: "ContentStyleDataset", seed: int | None = None):
        self.rank, self.processes = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.done = 0

    def __iter__(self) -> Iterator[int]:
        number = self.rank + self.done * self.processes
        while True:
            yield (1 + self.seed) * DRAWS + number
            number += self.processes

    def __len__(self) -> int:
        return len(self.dataset)

    def skip(self, num_samples: int) -> None:
        """mmengine resumes by this: so many draws of this process are behind it in all."""
        self.done = num_samples


@DATASETS.register_module()
class ContentStyleDataset(Dataset):
    """A content with a style, as mmengine's Runner takes it.

    Args:
        content: A folder (and what is below it), or a list of files.
        style: The same.
        pairs: 'random' goes through the contents in a new order each time, draws a style for each,
            and needs a `DrawSampler`; 'product' is every pair in order, the styles of the first
            content first; 'aligned' one to one.
        size: Shorter side in pixels to which a picture is scaled; None leaves it.
        crop: Side of a square that is cut out of it; None takes the whole. It lies at random, and
            in the middle where the pairs are not random.
        limit: Numbers of contents and styles, the first so many; (10, 21) is the paper's protocol.
            None takes all.
        recolor: Give each style other colours (saturation, gains, offsets, negatives), drawn anew
            each time, so that few paintings stand for many.
        on_error: 'raise', or for training 'skip', which draws another pair for a broken file and
            logs it once with the count.

    Raises:
        ValueError: No pictures or fewer than `limit`, folders of different length for 'aligned', a
            crop larger than `size`.
    """

    def __init__(
        self,
        content: str | Sequence[str],
        style: str | Sequence[str],
        pairs: str = "random",
        size: int | None = None,
        crop: int | None = None,
        limit: tuple[int, int] | None = None,
        recolor: bool = False,
        on_error: str = "raise",
    ):
        check_choice("pairs", pairs, PAIRS)
        if size is not None:
            check_whole("size", size, 8)
        if crop is not None:
            check_whole("crop", crop, 8, size, "; set size to the shorter side")
        if crop is not None and size is None:
            raise ValueError(f"crop={crop} needs size, the shorter side that it is cut from")
        self.contents = pictures_of("content", content)
        self.styles = pictures_of("style", style)
        if limit is not None:
            self._take(check_wholes("limit", limit, 1))
        if pairs == "aligned" and len(self.contents) != len(self.styles):
            raise ValueError(
                f"pairs='aligned' needs as many contents as styles, got {len(self.contents)} and "
                f"{len(self.styles)}: take 'product'"
            )
        if on_error == "skip" and pairs != "random":
            raise ValueError(f"on_error='skip' would change the pairs of {pairs!r}: take 'raise'")
        check_flag("recolor", recolor)
        if recolor and pairs != "random":
            raise ValueError(f"recolor=True is for training, with pairs='random', got {pairs!r}")
        self.pairs, self.size, self.crop, self.recolor = pairs, size, crop, recolor
        self.load = LoadImage(on_error=on_error)
        self.load.skipped_by = "ContentStyleDataset(on_error='skip')"

    def _take(self, limit: tuple[int, ...]):
        """The first so many contents and styles."""
        found = len(self.contents), len(self.styles)
        if len(limit) != 2 or any(a > b for a, b in zip(limit, found, strict=True)):
            raise ValueError(
                f"limit must be two numbers, of contents up to {found[0]} and of styles up to "
                f"{found[1]}, which are there, got {list(limit)}: give more pictures"
            )
        self.contents, self.styles = self.contents[: limit[0]], self.styles[: limit[1]]

    def __len__(self) -> int:
        return len(self.contents) * (len(self.styles) if self.pairs == "product" else 1)

    def _drawn(self, index: int) -> tuple[int, int, np.random.Generator | None]:
        """Content, style, and what random numbers for them come from."""
        if self.pairs == "product":
            return *divmod(index, len(self.styles)), None
        if self.pairs == "aligned":
            return index, index, None
        seed, number = divmod(index, DRAWS)
        if not seed:
            raise ValueError(
                "random pairs need sampler=dict(type='robustnet_mm.DrawSampler'), got index "
                f"{index} of another one, which would repeat the same pairs"
            )
        turn, place = divmod(number, len(self.contents))
        order = _order(seed, turn, len(self.contents))
        rng = np.random.default_rng([seed, number, 1])
        return order[place], rng.integers(len(self.styles)), rng

    def __getitem__(self, index: int) -> dict:
        """`dict(inputs=dict(content=(3, H, W) uint8 BGR, style=...), data_samples=StyleSample)`

        Raises:
            ValueError: A broken picture; with 'skip', where ten draws in a row were broken.
        """
        content, style, rng = self._drawn(index)
        for _ in range(10):
            paths = self.contents[content], self.styles[style]
            pair = [self.picture(path, rng) for path in paths]
            if all(picture is not None for picture in pair):
                if self.recolor:
                    pair[1] = recolored(pair[1], rng)
                sample = StyleSample(metainfo=dict(zip(_NAMES, paths, strict=True)))
                return dict(inputs=dict(content=pair[0], style=pair[1]), data_samples=sample)
            content, style = (rng.integers(len(place)) for place in (self.contents, self.styles))
        raise ValueError(f"ten pictures in a row are broken, the last of {paths}: look at the data")

    def picture(self, path: str, rng: np.random.Generator | None = None) -> torch.Tensor | None:
        """(3, H, W) of uint8, blue first; None where it is broken and skipped."""
        loaded = self.load(dict(img_path=path))
        if loaded is None:
            return None
        image = loaded["img"]
        if self.size is not None:
            height, width = image.shape[:2]
            if max(height, width) > LONGEST * min(height, width):
                raise ValueError(
                    f"{path} is a strip of {width} x {height} pixels, which size={self.size} would "
                    f"make huge: cut it to {LONGEST} : 1 at most, or take it out"
                )
            scale = self.size / min(height, width)
            sides = (max(round(width * scale), self.size), max(round(height * scale), self.size))
            image = mmcv.imresize(image, sides, interpolation="area" if scale < 1 else "bicubic")
        if self.crop is not None:
            room = [side - self.crop for side in image.shape[:2]]
            top, left = [n // 2 for n in room] if rng is None else rng.integers(np.add(room, 1))
            image = image[top : top + self.crop, left : left + self.crop]
        return from_array(image)
