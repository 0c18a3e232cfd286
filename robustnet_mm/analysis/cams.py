"""Class activation maps of each head, on the last map and on the tokens (grad-cam package)."""

from contextlib import contextmanager

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from .extras import need
from .outputs import backbone_of, choose_target, explained, one_by_one, undisturbed
from .places import Layout, vit_of

METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
}
LAYERS = ("map", "tokens")


def cam(
    model: nn.Module,
    images: Tensor,
    output: str = "sum",
    layer: str | nn.Module = "map",
    method: str = "gradcam",
    target: int | None = None,
) -> np.ndarray:
    """Where a map speaks for a class.

    Args:
        model: A classifier, `Logits` or `DetectionLogits`.
        images: (N, 3, H, W) after the data preprocessor.
        output: 'cnn', 'vit' or 'sum': the head whose logit is explained.
        layer: 'map', the backbone's last map; 'tokens', the tokens that enter the last
            transformer block's attention (behind it, a class token's head reads no other token);
            or a module that gives (N, C, H, W).
        method: One of `METHODS`.
        target: The class, by default the one that `output` predicts; of `DetectionLogits`, the
            number of the detection.

    Returns:
        (N, H, W) in 0..1, relative to the largest value; all zero where the output does not
        depend on the layer, or nothing in it speaks for the class.

    Raises:
        ValueError: Unknown method, layer or class.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if isinstance(layer, str) and layer not in LAYERS:
        raise ValueError(f"layer must be one of {', '.join(LAYERS)} or a module, got {layer!r}")
    found = []
    with undisturbed(model), torch.enable_grad():
        for image in one_by_one(images):
            function = explained(model, output, image)
            chosen = choose_target(function, image, target)
            with _tap(model, layer, image) as (module, reshape):
                found.append(_cam(function, image, chosen, METHODS[method], module, reshape))
    return np.stack(found)


def _cam(function, image: Tensor, chosen: int, method: str, module, reshape) -> np.ndarray:
    if not _depends(function, image, chosen, module):
        return np.zeros(image.shape[-2:], np.float32)
    package = need("pytorch_grad_cam")
    goal = need("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(chosen)
    explainer = getattr(package, method)(function, [module], reshape_transform=reshape)
    kept = explainer.activations_and_grads
    try:  # its own call subtracts the smallest value, and all of a map that is even
        leaf = image.clone().requires_grad_()
        goal(kept(leaf)[0]).backward()
        pair = [part[0].float().cpu().numpy() for part in (kept.activations, kept.gradients)]
        found = np.maximum(explainer.get_cam_image(leaf, module, [goal], *pair, False)[0], 0)
    finally:
        kept.release()
    found = cv2.resize(found.astype(np.float32), image.shape[:1:-1])
    return found / max(float(found.max()), 1e-12)


def _depends(function: nn.Module, image: Tensor, chosen: int, module: nn.Module) -> bool:
    """Whether a gradient of the logit reaches the module, without which the package fails."""
    seen = []
    handle = module.register_forward_hook(lambda m, args, output: seen.append(output))
    try:
        logit = function(image.clone().requires_grad_())[0, chosen]
    finally:
        handle.remove()
    if not seen:
        raise ValueError(
            f"the module to look at ({type(module).__name__}) did not run: name one that does"
        )
    (gradient,) = torch.autograd.grad(logit, seen[-1:], allow_unused=True)
    return gradient is not None and bool(gradient.any())


@contextmanager
def _tap(model: nn.Module, layer: str | nn.Module, image: Tensor):
    """The module to look at, and how its output becomes (N, C, h, w)."""
    if isinstance(layer, nn.Module):
        yield layer, None
    elif layer == "tokens":
        block, layout = vit_of(model).blocks[-1], Layout(vit_of(model), image)
        if not isinstance(getattr(block, "norm1", None), nn.Module):
            raise ValueError(
                f"layer='tokens' reads norm1 of the last transformer block, which a "
                f"{type(block).__name__} has not: take layer='map' or another ViT"
            )
        yield block.norm1, layout.to_map
    else:  # the outputs pass a module of their own, whatever the backbone is made of
        tap = nn.Identity()
        handle = backbone_of(model).register_forward_hook(
            lambda module, args, output: _through(tap, output)
        )
        try:
            yield tap, None
        finally:
            handle.remove()


def _through(tap: nn.Module, output):
    maps = getattr(output, "maps", output)
    if not isinstance(maps, (tuple, list)) or getattr(maps[-1], "ndim", 0) != 4:
        raise ValueError(
            "layer='map' needs a backbone that gives a tuple of maps (N, C, H, W): take "
            "layer='tokens' or name a module"
        )
    maps = (*maps[:-1], tap(maps[-1]))
    return output._replace(maps=maps) if hasattr(output, "maps") else maps
