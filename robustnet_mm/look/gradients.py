"""Which pixels a class hangs on: saliency, integrated gradients, guided backprop (captum).

All take images after the data preprocessor, (N, 3, H, W), one at a time through the model, and
give (N, H, W). `target` is a class, by default the one that `output` itself predicts.
"""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from robustnet_mm.models import TowerOutputs
from robustnet_mm.models.grids import tokens_to_map
from robustnet_mm.models.probe import backbone_of, net_of, undisturbed
from robustnet_mm.models.sized_images import own_sizes

from .extras import need
from .outputs import checking, explained, one_by_one, pick_target, predicted, with_sizes
from .passes import Pass, Tap, run_once
from .places import Layout, towers_of


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
            chosen = predicted(function, image) if target is None else target
            with checking(function, chosen):
                values = attribute(function, image.clone().requires_grad_(), chosen)
            found.append(values.detach().float().cpu().numpy())
    return np.concatenate(found)


def receptive_field(
    model: nn.Module, images: Tensor, point: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Effective receptive field of a place in each tower's last features (Luo et al., 2016).

    The gradient of the sum of its channels, absolute, summed over colours, as a share of all.

    Args:
        model: A model with a tower of ours; in a woven one the field goes through the exchanges.
        images: (N, 3, H, W) after the data preprocessor.
        point: (x, y) in pixels, where the place lies.

    Returns:
        Tower -> (N, H, W), which sums to one.

    Raises:
        ValueError: The point lies outside, or there is no tower of ours.
    """
    (x, y), (height, width) = point, images.shape[-2:]
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(
            f"point must be (x, y) with x in 0..{width - 1} and y in 0..{height - 1}, got {point}"
        )
    cnn, vit = towers_of(model)
    if cnn is None and vit is None:
        raise ValueError(
            "a receptive field needs a backbone with a tower of ours, got "
            f"{type(backbone_of(model)).__name__}: take a RobustNet, a CNN tower or a ViTTower"
        )
    steps = dict(cnn=None if cnn is None else (cnn.out_strides[-1],) * 2)
    steps["vit"] = None if vit is None else vit.patch_size
    found = {}
    with undisturbed(model), torch.enable_grad():
        for image in one_by_one(images):
            pixels, sizes = own_sizes(image)
            pixels = pixels.clone().requires_grad_()
            maps = _last_maps(backbone_of(model)(with_sizes(pixels, sizes)))
            for name, feat in maps.items():
                p, q = steps[name]
                row, column = min(y // p, feat.size(2) - 1), min(x // q, feat.size(3) - 1)
                place = feat[0, :, row, column].sum()
                (gradient,) = torch.autograd.grad(place, pixels, retain_graph=True)
                field = gradient[0].abs().sum(0).double()
                field = field / field.sum().clamp_min(1e-300)
                found.setdefault(name, []).append(field.cpu().numpy())
    return {name: np.stack(fields) for name, fields in found.items()}


def _last_maps(outputs) -> dict[str, Tensor]:
    """What a backbone with a tower of ours gives -> tower -> (1, C, h, w)"""
    if isinstance(outputs, TowerOutputs):
        return dict(cnn=outputs.maps[-1], vit=tokens_to_map(outputs.tokens, outputs.grid))
    if isinstance(outputs[-1], Tensor):
        return dict(cnn=outputs[-1])
    return dict(vit=tokens_to_map(*outputs))


def half_of(field: np.ndarray) -> float:
    """The least share of the pixels that holds half of a field."""
    values = np.sort(field, axis=None)[::-1]
    return float(np.searchsorted(values.cumsum(), values.sum() / 2) + 1) / field.size


def activations_of(model: nn.Module) -> dict[str, int]:
    """How many activation modules of each type the model has: {'ReLU': 17, 'GELU': 4}."""
    found = {}
    for module in model.modules():
        if type(module).__module__.startswith(("torch.nn.modules.activation", "timm.layers.activ")):
            name = type(module).__name__
            found[name] = found.get(name, 0) + 1
    return found


def exchange_taps(model: nn.Module, image: Tensor) -> dict[str, Tap]:
    """What the blocks of the first and the last exchange give: 'exchange 0: CNN block 1', ...

    Raises:
        ValueError: The backbone has no exchanges.
    """
    net = net_of(model, "gradients at the exchanges")
    if not net.exchanges:
        raise ValueError(
            "the towers do not exchange (direction='none' or no RobustNet): gradients are shown "
            "at the exchanges, take `saliency` instead"
        )
    layout, taps = Layout(net.vit, image), {}

    def first(output):
        return output[0] if isinstance(output, tuple) else output

    def to_map(tensor):
        return layout.to_map(tensor) if tensor.ndim == 3 else tensor

    for k in sorted({0, len(net.exchanges) - 1}):
        u, v = net.exchanges[k]
        taps[f"exchange {k}: CNN block {u}"] = Tap(net.cnn.blocks[u], first, to_map)
        taps[f"exchange {k}: ViT block {v}"] = Tap(net.vit.blocks[v], first, to_map)
    return taps


def gradient_norms(ran: Pass, output: str, target: int) -> dict[str, np.ndarray]:
    """Place -> norm over channels of a logit's gradient there, (h, w)."""
    found = {}
    for place, value in ran.values.items():
        gradient = ran.gradient(output, target, place)
        gradient = torch.zeros_like(value) if gradient is None else gradient
        found[place] = ran.taps[place].to_map(gradient).norm(dim=1)[0].float().cpu().numpy()
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
    found = []
    for image in one_by_one(images):
        function = explained(model, output, image)
        ran = run_once(function, image, exchange_taps(model, image))
        chosen = pick_target(ran.logits[function.output], target)
        found.append(gradient_norms(ran, function.output, chosen))
    return {place: np.stack([one[place] for one in found]) for place in found[0]}
