"""Pictures of attention: where it goes, and whether that means something.

A view takes a path, or a `Picture` that was read, and gives (panel (H, W, 3) uint8, arrays).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import BaseDataElement

from robustnet_mm.attention import AttentionProbe, significance
from robustnet_mm.attention.masks import patch_shares
from robustnet_mm.attention.significance import most
from robustnet_mm.models.probe import backbone_of, undisturbed

from .asked import View
from .attention import attention, attention_distance, query_row, rollout, uniform_distance
from .panels import heat, in_lines, lines, panel, photo, words
from .places import Layout, find_block, towers_of, vit_of
from .subject import Picture, Subject
from .token_maps import tokenizers_of, view_tokens


def view_attention(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    block: int = -1,
    point: tuple[int, int] | None = None,
) -> View:
    """All heads of a block, rollout, and how far each block looks; or where visual tokens look.

    Args:
        subject: A model with a ViT tower, or with visual tokens.
        picture: The image.
        block: Number of the block, or of the tokenizer; -1 is the last.
        point: (x, y) in pixels: the patch that lies there asks; None: the class token. Visual
            tokens are not asked by a point.

    Raises:
        ValueError: No such block or point, no class token, or no ViT tower and no visual tokens.
    """
    shown = subject.picture(picture)
    model, images = subject.model, shown.images
    if towers_of(model)[1] is None and tokenizers_of(model):
        if point is not None:
            raise ValueError(
                f"point is for a ViT's patches, got {point} and visual tokens: leave it"
            )
        return view_tokens(model, shown, block)
    vit = vit_of(model)
    block = find_block(len(vit.blocks), block)
    point = None if point is None else tuple(point)
    layout = Layout(vit, images)
    row = query_row(layout, shown.pixels.shape[:2], point)  # not in the padding
    heads = shown.crop(attention(model, images, block, point))[0]
    flow = rollout(model, images)[0]
    rolled = shown.crop(flow[row, layout.num_prefix :].reshape(layout.grid))
    size = shown.pixels.shape[:2]
    distance = attention_distance(model, images, size)[0]
    reference = np.full(len(distance), uniform_distance(model, images, size))
    asks = "the class token" if point is None else f"the patch at {point}"
    first = [
        photo(shown.pixels, "input", point=point),
        heat(heads.mean(0), f"block {block}, mean of heads", "attention", shown.pixels),
        heat(rolled, f"rollout over {len(distance)} blocks", "share", shown.pixels),
        lines(
            {"heads, and their mean": distance, "attention to all alike": reference},
            "mean attention distance",
            ("block", "pixels"),
        ),
    ]
    cells = [
        heat(one, f"block {block}, head {index}", "attention", shown.pixels)
        for index, one in enumerate(heads)
    ]
    caption = (
        f"attention: {Path(shown.path).name}, asked by {asks}\nrollout follows the ViT's own "
        "blocks and not the exchanges; distances are those between patches"
    )
    arrays = {"attention": heads, "rollout": rolled, "distance": distance}
    return panel([first, *in_lines(cells, 4)], caption, wide=shown.aspect + 0.2), arrays


def view_significance(
    subject: Subject,
    picture: Picture | str | Path,
    *,
    block: int = -1,
    annotations: str | None = None,
    foreground: Sequence[int] | None = None,
) -> View:
    """Five numbers of a block's attention beside those of attention that means nothing.

    Where the class token attends to, or what patches receive where there is none; each head's
    picture shows the fewest patches that hold 60 % of it. `robustnet_mm.attention.significance`
    says what the numbers are.

    Args:
        subject: A model with a ViT tower.
        picture: The image.
        block: Number of the block; -1 is the last.
        annotations: COCO file of the ground truth; by default that of the config's test data.
            Without ground truth foreground and jaccard are missing.
        foreground: Classes that are foreground; by default all objects, and of label maps all but
            a first one called background.

    Raises:
        ValueError: No such block, or no ViT tower.
    """
    shown = subject.picture(picture)
    block = find_block(len(vit_of(subject.model).blocks), block)
    probe = AttentionProbe(backbone_of(subject.model), dict(blocks=[block]))
    size = shown.pixels.shape[:2]
    with undisturbed(subject.model):
        (found,) = probe(shown.images, [BaseDataElement(metainfo=dict(img_shape=size))], "predict")
    found = found["attention"]
    truth = subject.foreground(shown, annotations, foreground)
    masks = (np.zeros(size, bool), np.ones(size, bool)) if truth is None else truth
    of, real = patch_shares(*map(torch.as_tensor, masks), size, found.grid, found.patch_size)
    numbers = significance(found, None if truth is None else of, real)
    maps = found.maps()[0].cpu() * (real >= 0.5)
    held = most((maps / maps.sum((1, 2), keepdim=True)).flatten(1)).unflatten(1, found.grid)
    held = held.numpy().astype(float)
    text = [f"{'':14}{'here':>8}{'uniform':>9}{'random':>8}"]
    for name, one in numbers.items():
        line = f"{name:14}{one.value:8.3f}{one.uniform:9.3f}{one.random:8.3f}"
        text.append(line.replace("nan", "   "))
    first = [photo(shown.pixels, "input"), words(text, f"block {block}, mean of heads")]
    if truth is not None:
        first.insert(1, heat(masks[0].astype(float), "foreground", "is it", shown.pixels))
    cells = [
        heat(one, f"head {index}: where 60 % are", "is it", shown.pixels)
        for index, one in enumerate(held)
    ]
    caption = (
        f"significance: {Path(shown.path).name}, {'without' if truth is None else 'with'} ground "
        "truth\nuniform: of attention to all patches alike; random: of a random mask of that size"
    )
    arrays = {name: np.array(number) for name, number in numbers.items()} | {"held": held}
    return panel([first, *in_lines(cells, 4)], caption, wide=shown.aspect + 0.4), arrays
