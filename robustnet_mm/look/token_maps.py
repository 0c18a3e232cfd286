"""Where visual tokens look: the attention of each tokenizer of a network over the pixels."""

import numpy as np
import torch
from torch import Tensor, nn

from robustnet_mm.models.probe import undisturbed
from robustnet_mm.visual_tokens.modules import Tokenizer

from .asked import View
from .panels import heat, in_lines, panel, photo, regions
from .places import find_block
from .subject import Picture


def tokenizers_of(model: nn.Module) -> dict[str, Tokenizer]:
    """Those of a network by name, in order: VT-ResNet's modules, VT-FPN's levels."""
    return {name: part for name, part in model.named_modules() if isinstance(part, Tokenizer)}


@torch.no_grad()
def token_attention(model: nn.Module, image: Tensor) -> dict[str, np.ndarray]:
    """What each token of each tokenizer looks at in an image.

    Args:
        model: A host's model with tokenizers in its backbone or neck.
        image: (1, 3, H, W) after the data preprocessor.

    Returns:
        Name of the tokenizer -> (L, h, w), which sums to one over the pixels of its map. Those
        that pool to places alone are left out.
    """
    found, handles = {}, []
    for name, part in tokenizers_of(model).items():

        def keep(module, args, output, name=name):
            if output.attention is not None:
                found[name] = output.attention[0].float().cpu().numpy()

        handles.append(part.register_forward_hook(keep))
    try:
        with undisturbed(model):
            model.extract_feat(image)
    finally:
        for handle in handles:
            handle.remove()
    return found


def view_tokens(model: nn.Module, shown: Picture, block: int) -> View:
    """For each tokenizer which token sees most of a pixel, and of one of them every token's map.

    Raises:
        ValueError: No such tokenizer, or none with an attention.
    """
    found, names = token_attention(model, shown.images), list(tokenizers_of(model))
    chosen = names[find_block(len(names), block)]
    if chosen not in found:
        raise ValueError(
            f"{chosen} pools by place, which has no attention: name another block, or look at "
            "`features`"
        )
    maps = shown.crop(found[chosen])
    cells = [
        heat(one, f"token {index}", "attention", shown.pixels) for index, one in enumerate(maps)
    ]
    height, width = shown.pixels.shape[:2]
    first = [photo(shown.pixels, "input")]
    for name, attention in found.items():
        nearest = _enlarged(shown.crop(attention).argmax(0), height, width)
        first.append(regions(shown.pixels, nearest, lambda k: f"token {k}", name))
    caption = (
        f"attention of visual tokens in {chosen}\nin colours: the token that looks most at a "
        "pixel; each map sums to one over the image"
    )
    arrays = {name: shown.crop(attention) for name, attention in found.items()}
    return panel([*in_lines(first, 4), *in_lines(cells, 4)], caption, shown.aspect + 0.4), arrays


def _enlarged(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w) -> (height, width), each pixel as the cell that it lies in."""
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    return labels[rows][:, columns]
