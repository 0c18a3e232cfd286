"""Class activation maps of each head, on the last map and on the tokens (grad-cam package)."""

import cv2
import numpy as np
from torch import Tensor, nn

from robustnet_mm.models.probe import backbone_of

from .extras import need
from .outputs import explained, one_by_one, pick_target
from .passes import Pass, Tap, run_once
from .places import Layout, vit_of

METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
}
LAYERS = ("map", "tokens")


def tap_of(model: nn.Module, layer: str | nn.Module, image: Tensor) -> Tap:
    """Where to look for a `layer` of `cam`.

    Raises:
        ValueError: An unknown layer, or one that the model does not have.
    """
    if isinstance(layer, nn.Module):
        return Tap(layer)
    if layer not in LAYERS:
        raise ValueError(f"layer must be one of {', '.join(LAYERS)} or a module, got {layer!r}")
    if layer == "map":
        return Tap(backbone_of(model), _last_map)
    block, layout = vit_of(model).blocks[-1], Layout(vit_of(model), image)
    if not isinstance(getattr(block, "norm1", None), nn.Module):
        raise ValueError(
            f"layer='tokens' reads norm1 of the last transformer block, which a "
            f"{type(block).__name__} has not: take layer='map' or another ViT"
        )
    return Tap(block.norm1, to_map=layout.to_map)


def _last_map(output) -> Tensor:
    maps = getattr(output, "maps", output)
    if not isinstance(maps, (tuple, list)) or getattr(maps[-1], "ndim", 0) != 4:
        raise ValueError(
            "layer='map' needs a backbone that gives a tuple of maps (N, C, H, W): take "
            "layer='tokens' or name a module"
        )
    return maps[-1]


def cam_of(ran: Pass, place: str, output: str, target: int, method: str) -> np.ndarray:
    """The map of one logit at one place of a pass: (H, W), as `cam` gives it.

    Raises:
        ValueError: Unknown method, or a place that did not run.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if place not in ran.values:
        raise ValueError(
            f"the module to look at ({type(ran.taps[place].module).__name__}) did not run: name "
            "one that does"
        )
    gradient = ran.gradient(output, target, place)
    if gradient is None or not bool(gradient.any()):
        return np.zeros(ran.shape, np.float32)
    package = need("pytorch_grad_cam")
    formula = getattr(package, METHODS[method])(nn.Linear(1, 1), [])  # it never runs this model
    pair = [ran.as_map(place, each)[None] for each in (ran.values[place], gradient)]
    # its own call subtracts the smallest value, and all of a map that is even
    found = np.maximum(formula.get_cam_image(None, None, None, *pair, False)[0], 0)
    found = cv2.resize(found.astype(np.float32), ran.shape[::-1])
    return found / max(float(found.max()), 1e-12)


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
    found = []
    for image in one_by_one(images):
        function = explained(model, output, image)
        ran = run_once(function, image, {"layer": tap_of(model, layer, image)})
        chosen = pick_target(ran.logits[function.output], target)
        found.append(cam_of(ran, "layer", function.output, chosen, method))
    return np.stack(found)
