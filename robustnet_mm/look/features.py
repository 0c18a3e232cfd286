"""Feature maps of any module, their strongest channels, colours of tokens, and edges."""

import numpy as np
import torch
from torch import Tensor, nn

from robustnet_mm.models.probe import undisturbed

from .outputs import one_by_one
from .places import Layout, default_names, find_module, towers_of


@torch.no_grad()
def features(
    model: nn.Module, images: Tensor, names: list[str] | None = None
) -> dict[str, np.ndarray]:
    """What modules of the backbone, the neck or a classifier's head give.

    Args:
        model: A classifier, a detector or a backbone.
        images: (N, 3, H, W) after the data preprocessor.
        names: Of `model.named_modules()`; by default the first and last block of each stage.

    Returns:
        Name -> (N, C, h, w); tokens lie on their grid, prefix tokens are left out.

    Raises:
        ValueError: Unknown name, a module that did not run, or one that gives no map.
    """
    names = names or default_names(model)
    modules = {name: find_module(model, name) for name in names}
    found = {name: [] for name in names}
    with undisturbed(model):
        for image in one_by_one(images):
            outputs = {}

            def keep(module, args, result, outputs=outputs):
                result = result[0] if isinstance(result, tuple) else result
                # a copy: the next activation may write in place
                outputs[module] = result.clone() if isinstance(result, Tensor) else result

            handles = [module.register_forward_hook(keep) for module in set(modules.values())]
            try:
                run_to_maps(model, image)
            finally:
                for handle in handles:
                    handle.remove()
            for name, module in modules.items():
                value = _as_map(name, outputs.get(module), model, image)
                found[name].append(value.float().cpu().numpy())
    return {name: np.concatenate(maps) for name, maps in found.items()}


def run_to_maps(model: nn.Module, image: Tensor):
    """A classifier to its logits, a detector to the end of its neck, a backbone to its end."""
    if hasattr(model, "extract_feat"):
        classifier = getattr(model, "with_head", False) and hasattr(model, "head")
        return model(image, mode="tensor") if classifier else model.extract_feat(image)
    return model(image)


def _as_map(name: str, value, model: nn.Module, image: Tensor) -> Tensor:
    if value is None:
        raise ValueError(
            f"module {name} did not run: features are those of the backbone, the neck and a "
            "classifier's head; name a module that runs there, a block and not a list of blocks"
        )
    _, vit = towers_of(model)
    if isinstance(value, Tensor) and value.ndim == 3 and vit is not None:
        return Layout(vit, image).to_map(value)
    if isinstance(value, Tensor) and value.ndim == 4:
        return value
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    raise ValueError(
        f"module {name} gives no map but {shape}: name one that gives (N, C, H, W) or the ViT's "
        "tokens"
    )


def top_channels(feat: np.ndarray, k: int) -> np.ndarray:
    """(C, h, w) -> the k channels of the largest root mean square, strongest first."""
    return np.argsort(-np.square(feat).mean((1, 2)), kind="stable")[:k]


def pca_colours(feat: np.ndarray) -> np.ndarray:
    """Tokens as colours: (C, h, w) -> (h, w, 3) in 0..1.

    Red, green and blue are the positions' first three principal components, each stretched to
    its own range: like colours are like tokens, and no colour has a meaning of its own.
    """
    rows = feat.reshape(len(feat), -1).T.astype(np.float64)
    rows = rows - rows.mean(0)
    u, s, _ = np.linalg.svd(rows, full_matrices=False)
    parts = np.zeros((len(rows), 3))
    parts[:, : min(3, s.size)] = (u * s)[:, :3]
    span = np.ptp(parts, axis=0)
    colours = (parts - parts.min(0)) / np.where(span > 0, span, 1)
    return colours.reshape(*feat.shape[1:], 3)


def edges(maps: np.ndarray) -> np.ndarray:
    """Sobel derivatives (3 x 3): (N, h, w) -> (N, 2, h, w), d/dx and d/dy.

    d/dx answers to vertical edges, d/dy to horizontal ones.
    """
    import cv2

    found = [
        [cv2.Sobel(one.astype(np.float32), cv2.CV_32F, *axis, ksize=3) for axis in ((1, 0), (0, 1))]
        for one in maps
    ]
    return np.array(found, np.float32)
