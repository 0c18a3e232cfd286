"""One run of a model, differentiated as often as it is asked: by head, detection and place."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .outputs import undisturbed


class Tap(NamedTuple):
    """A place in a model: the output of a module, and how it becomes a map."""

    module: nn.Module
    part: Callable = lambda output: output  # what the module gives -> the tensor looked at
    to_map: Callable = lambda tensor: tensor  # that tensor -> (1, C, h, w)


class Pass(NamedTuple):
    """What one image gave on its way through a model, with the graph that leads there.

    Attributes:
        function: `Logits` or `DetectionLogits`.
        logits: Output -> (1, classes or detections).
        taps: Place -> its `Tap`.
        values: Place -> the tensor looked at; places that did not run are absent.
        shape: (H, W) of the image.
    """

    function: nn.Module
    logits: dict[str, Tensor]
    taps: Mapping[str, Tap]
    values: dict[str, Tensor]
    shape: tuple[int, int]

    def gradient(self, output: str, target: int, place: str) -> Tensor | None:
        """Of one logit, as `values[place]`; None where the logit does not depend on it."""
        with undisturbed(self.function):
            logit = self.logits[output][0, target]
            return torch.autograd.grad(
                logit, self.values[place], allow_unused=True, retain_graph=True
            )[0]

    def as_map(self, place: str, tensor: Tensor) -> np.ndarray:
        """A value of a place, or a gradient there, -> (C, h, w)."""
        return self.taps[place].to_map(tensor)[0].detach().float().cpu().numpy()


def run_once(function: nn.Module, image: Tensor, taps: Mapping[str, Tap]) -> Pass:
    """Run `Logits` or `DetectionLogits` on one image, (1, 3, H, W), and keep what the taps see."""
    kept = {}

    def keep(name: str, tap: Tap):
        def hook(module, args, output):
            if name not in kept:
                kept[name] = tap.part(output)
            # a copy goes on: the next activation may write in place
            return output.clone() if kept[name] is output else None

        return hook

    with undisturbed(function), torch.enable_grad():
        handles = [tap.module.register_forward_hook(keep(name, tap)) for name, tap in taps.items()]
        try:
            logits = function.heads(image.detach().clone().requires_grad_())
        finally:
            for handle in handles:
                handle.remove()
    return Pass(function, logits, taps, kept, tuple(image.shape[-2:]))
