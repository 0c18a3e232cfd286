"""Networks that a loss looks through: frozen, and no part of the model that they judge.

Each takes pictures in RGB, 0..1, and gives maps by name. What its weights were trained on (mean,
deviation, order of the channels) stands in its config: losses under another preprocessing are other
losses.
"""

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
import torchvision
from mmengine.logging import print_log
from torch import Tensor, nn

from robustnet_mm.arguments import check_choice, check_dict, check_flag, check_text
from robustnet_mm.models.grids import tokens_to_map
from robustnet_mm.models.towers import CNNTower, TransformerTower
from robustnet_mm.models.towers.normalize import IMAGENET_NORM, Renormalize
from robustnet_mm.registry import MODELS
from robustnet_mm.weights import find_state_dict, read_checkpoint

PICTURES = dict(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))  # 0..255 -> 0..1
_WEIGHTS = {"vgg16": "VGG16_Weights", "vgg19": "VGG19_Weights"}


class Outside:
    """A frozen network that another module uses and does not own.

    It is in no state dict, no optimiser and no average of the weights, stays in eval mode, and goes
    to the device of its inputs. A copy of the owner shares it.
    """

    def __init__(self, network: nn.Module):
        self.network = network.eval().requires_grad_(False)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return self.network.to(images.device)(images)

    def __deepcopy__(self, memo):
        return self


def _say_meaningless(name: str):
    print_log(
        f"{name} has random weights (checkpoint='random'): its losses mean nothing",
        "current",
        logging.WARNING,
    )


@MODELS.register_module()
class VGGFeatures(nn.Module):
    """Maps of torchvision's VGG-16 or VGG-19 after named ReLUs.

    Args:
        arch: 'vgg16' or 'vgg19'.
        layers: Such as ('relu1_1', 'relu4_1'); what comes after the last one is not made.
        checkpoint: A file with torchvision's names (`features.0.weight`), 'torchvision' for its
            own weights (downloaded), or 'random': seeded, for tests; the losses mean nothing then.
        input_norm: `dict(mean=..., std=...)` of RGB in 0..255 that the weights want.
        to_bgr: Whether they want blue first.

    Raises:
        ValueError: An unknown name, or a file that lacks a layer.
    """

    def __init__(
        self,
        arch: str,
        layers: Sequence[str],
        checkpoint: str,
        input_norm: dict | None = None,
        to_bgr: bool = False,
    ):
        super().__init__()
        check_choice("arch", arch, _WEIGHTS)
        check_flag("to_bgr", to_bgr)
        check_text("checkpoint", checkpoint or "", "'vgg16.pth', 'torchvision' or 'random'")
        with torch.device("meta"):  # without the gigabytes of its classifier
            features = getattr(torchvision.models, arch)(weights=None, init_weights=False).features
        if not layers:
            raise ValueError(f"layers must name one layer at least, such as relu4_1, got {layers}")
        places = _relus(features)
        for layer in layers:
            check_choice("layers", layer, places)
        self.names = {places[layer]: layer for layer in layers}
        self.features = features[: max(self.names) + 1].to_empty(device="cpu")
        self.features.to(memory_format=torch.channels_last)  # faster on CPUs
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # the maps before are read, too
        self.normalize = Renormalize(PICTURES, input_norm or IMAGENET_NORM)
        self.to_bgr = to_bgr
        self._start(arch, checkpoint)

    def _start(self, arch: str, checkpoint: str):
        if checkpoint == "random":
            _say_meaningless(arch)
            seeded = torch.Generator().manual_seed(0)
            for name, parameter in self.features.named_parameters():
                if name.endswith("weight"):
                    nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=seeded)
                else:
                    nn.init.zeros_(parameter)
            return
        if checkpoint == "torchvision":
            checkpoint = getattr(torchvision.models, _WEIGHTS[arch]).IMAGENET1K_V1.url
        weights = find_state_dict(read_checkpoint(checkpoint))
        own = self.features.state_dict()
        given = {key: weights.get(f"features.{key}") for key in own}
        lost = [k for k, v in given.items() if v is None or v.shape != own[k].shape]
        if lost:
            raise ValueError(
                f"{checkpoint} is no {arch} of torchvision: features.{lost[0]} is missing or has "
                f"another shape ({len(lost)} such keys): name a file with torchvision's keys"
            )
        self.features.load_state_dict(given)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W), RGB in 0..1 -> name -> (N, C, h, w), in the order of the network."""
        x, found = self.normalize(images), {}
        x = x.flip(1) if self.to_bgr else x
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.names:
                found[self.names[place]] = x
        return found


def _relus(features: nn.Sequential) -> dict[str, int]:
    """'relu1_1' -> its place in torchvision's `features`."""
    names, block, number = {}, 1, 0
    for place, layer in enumerate(features):
        if isinstance(layer, nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(layer, nn.ReLU):
            number += 1
            names[f"relu{block}_{number}"] = place
    return names


@MODELS.register_module()
class TowerFeatures(nn.Module):
    """Maps of a tower of ours, and so of any CNN or ViT of timm, as a stand-in for VGG.

    Args:
        tower: Its config, such as `dict(type='robustnet_mm.TimmCNNTower', model_name='resnet18',
            init_cfg=dict(type='robustnet_mm.PretrainedTower', pretrained=True))`.
        random: True lets it have no `init_cfg`; the losses mean nothing then.

    A CNN gives 'level0', 'level1', ..., finest first; a ViT gives 'tokens', the patch tokens after
    its last block as a map.

    Raises:
        ValueError: No tower, or one without weights.
    """

    def __init__(self, tower: Mapping, random: bool = False):
        super().__init__()
        example = "dict(type='robustnet_mm.TimmCNNTower', model_name='resnet18', init_cfg=...)"
        check_dict("tower", tower, example)
        check_flag("random", random)
        tower = dict(deepcopy(tower), data_norm=PICTURES)
        self.tower = MODELS.build(tower)
        if not isinstance(self.tower, CNNTower | TransformerTower):
            raise ValueError(f"tower must be one of ours, {example}, got {tower.get('type')!r}")
        if random:
            _say_meaningless(tower["type"])
        elif not tower.get("init_cfg"):
            raise ValueError(
                f"tower has no weights: give init_cfg as in {example}, or random=True for losses "
                "that mean nothing"
            )
        else:
            self.tower.init_weights()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W), RGB in 0..1 -> name -> (N, C, h, w)"""
        if isinstance(self.tower, TransformerTower):
            return dict(tokens=tokens_to_map(*self.tower(images)))
        return {f"level{k}": feat for k, feat in enumerate(self.tower(images))}
