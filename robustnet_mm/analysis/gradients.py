"""Which pixels a class hangs on: saliency, integrated gradients, guided backprop (captum).

All take images after the data preprocessor, (N, 3, H, W), one at a time through the model, and
give (N, H, W). `target` is a class, by default the one that `output` itself predicts.
"""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from .extras import need
from .outputs import choose_target, explained, one_by_one, undisturbed
from .places import Layout, net_of


def saliency(model: nn.Module, images: Tensor, output: str = "sum", target: int | None = None):
    """Largest absolute gradient of a logit over the channels of a pixel (Simonyan et al., 2013).

    Args:
        model: A classifier, `Logits` or `DetectionLogits`.
        images: (N, 3, H, W).
        output: 'cnn', 'vit' or 'sum'.
        target: The class.

    Returns:
        (N, H, W), not negative; logit per unit of the normalised pixel.
    """

    def attribute(function, image, chosen):
        return need("captum.attr").Saliency(function).attribute(image, chosen).amax(1)

    return _for_each(attribute, model, images, output, target)


def guided_backprop(
    model: nn.Module, images: Tensor, output: str = "sum", target: int | None = None
):
    """As `saliency`, with negative gradients stopped at each `nn.ReLU` (Springenberg et al., 2014).

    Other activations (GELU, ReLU6, SiLU) pass gradients as they are: where no ReLU is on the way,
    this is `saliency`, as `activations_of` tells.

    Returns:
        (N, H, W), not negative.
    """

    def attribute(function, image, chosen):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that hooks are set, which is what was asked for
            found = need("captum.attr").GuidedBackprop(function).attribute(image, chosen)
        return found.abs().amax(1)

    return _for_each(attribute, model, images, output, target)


def integrated_gradients(
    model: nn.Module,
    images: Tensor,
    output: str = "sum",
    target: int | None = None,
    steps: int = 32,
):
    """Gradients along the way from a grey image (Sundararajan et al., 2017), summed over channels.

    The grey image is zero after normalisation: the data's mean colour. The sum over all pixels is
    the logit of the image less that of the grey one, as far as `steps` approximate the integral.

    Returns:
        (N, H, W), signed, in units of the logit.
    """

    def attribute(function, image, chosen):
        method = need("captum.attr").IntegratedGradients(function)
        found = method.attribute(image, target=chosen, n_steps=steps, internal_batch_size=1)
        return found.sum(1)

    return _for_each(attribute, model, images, output, target)


def _for_each(attribute, model: nn.Module, images: Tensor, output: str, target) -> np.ndarray:
    found = []
    with undisturbed(model), torch.enable_grad():
        for image in one_by_one(images):
            function = explained(model, output, image)
            chosen = choose_target(function, image, target)
            leaf = image.clone().requires_grad_()
            found.append(attribute(function, leaf, chosen).detach().float().cpu().numpy())
    return np.concatenate(found)


def activations_of(model: nn.Module) -> dict[str, int]:
    """How many activation modules of each type the model has: {'ReLU': 17, 'GELU': 4}."""
    found = {}
    for module in model.modules():
        if type(module).__module__.startswith(("torch.nn.modules.activation", "timm.layers.activ")):
            name = type(module).__name__
            found[name] = found.get(name, 0) + 1
    return found


def exchange_gradients(
    model: nn.Module, images: Tensor, output: str = "sum", target: int | None = None
) -> dict[str, np.ndarray]:
    """Gradient of a logit at the first and the last exchange, on both towers.

    Args:
        model: A classifier with a RobustNet, or `DetectionLogits`.
        images: (N, 3, H, W).
        output: 'cnn', 'vit' or 'sum'.
        target: The class, or the number of the detection.

    Returns:
        Place ('exchange 0: CNN block 1') -> (N, h, w), the norm over channels; all zero where the
        output does not depend on the place.

    Raises:
        ValueError: The backbone has no exchanges.
    """
    net = net_of(model, "gradients at the exchanges")
    if not net.exchanges:
        raise ValueError(
            "the towers do not exchange (direction='none' or no RobustNet): gradients are shown "
            "at the exchanges, take KIND saliency instead"
        )
    places = {}
    for k in sorted({0, len(net.exchanges) - 1}):
        u, v = net.exchanges[k]
        places[f"exchange {k}: CNN block {u}"] = net.cnn.blocks[u]
        places[f"exchange {k}: ViT block {v}"] = net.vit.blocks[v]
    found = {name: [] for name in places}
    with undisturbed(model), torch.enable_grad():
        for image in one_by_one(images):
            function = explained(model, output, image)
            chosen = choose_target(function, image, target)
            outputs = {}

            def keep(module, args, result, outputs=outputs):
                outputs[module] = result[0] if isinstance(result, tuple) else result

            handles = [module.register_forward_hook(keep) for module in places.values()]
            try:
                logit = function(image.clone().requires_grad_())[0, chosen]
            finally:
                for handle in handles:
                    handle.remove()
            kept = [outputs[module] for module in places.values()]
            gradients = torch.autograd.grad(logit, kept, allow_unused=True)
            for name, value, gradient in zip(places, kept, gradients, strict=True):
                gradient = torch.zeros_like(value) if gradient is None else gradient
                if gradient.ndim == 3:
                    gradient = Layout(net.vit, image).to_map(gradient)
                found[name].append(gradient.norm(dim=1).float().cpu().numpy())
    return {name: np.concatenate(maps) for name, maps in found.items()}
