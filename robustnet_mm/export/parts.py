"""What of a model is exported: a function of images alone, whose outputs have names."""

from collections.abc import Iterable, Mapping

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from robustnet_mm.arguments import check_choice
from robustnet_mm.models import TowerLogits
from robustnet_mm.models.probe import backbone_of, vit_tower_of

PARTS = ("backbone", "neck", "model")


class Part(nn.Module):
    """Preprocessed images (N, 3, H, W) -> a tuple of tensors, in the order of `names`.

    Args:
        model: A host's classifier, detector or segmentor, or a backbone alone; it is put into eval
            mode.
        part: 'backbone'; 'neck', the backbone and what follows it; or 'model', with the heads:
            logits of a classifier (of each tower, and their sum), logits of a segmentor at the
            head's own size, scores and boxes of a detector of one stage before they are decoded.

    Attributes:
        names: Of the outputs: 'map_0', 'tokens', 'level_0', 'logits', 'cls_score_0'.
        smallest: (height, width) of the smallest image, in pixels: a patch.

    Raises:
        ValueError: No such part, or a detector of two stages whole.
    """

    def __init__(self, model: nn.Module, part: str = "model"):
        super().__init__()
        check_choice("part", part, PARTS)
        if part == "neck" and getattr(model, "neck", None) is None:
            raise ValueError("part='neck' needs a model with a neck, got none: take 'backbone'")
        if part == "model" and hasattr(model, "roi_head"):
            raise ValueError(
                f"part='model' is not for a {type(model).__name__}, whose second stage depends on "
                "what the first finds: take part='neck' (docs/export.md says what follows)"
            )
        self.model, self.part = model, part
        vit = vit_tower_of(backbone_of(model))
        self.smallest = (1, 1) if vit is None else tuple(vit.patch_size)
        self.eval()
        with torch.no_grad():
            example = next(model.parameters()).new_zeros(1, 3, 128, 128)
            self.names = tuple(self.outputs(example))

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Images -> outputs by name."""
        if self.part == "backbone":
            return dict(_named(backbone_of(self.model)(images), "map"))
        if self.part == "neck":
            features = self.model.neck(self.model.backbone(images))
            return {f"level_{k}": level for k, level in enumerate(features)}
        mode = dict(mode="tensor") if isinstance(self.model, BaseModel) else {}
        return dict(_of_heads(self.model(images, **mode)))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> the outputs"""
        return tuple(self.outputs(_at_least(images, self.smallest)).values())


def _at_least(images: Tensor, smallest: tuple[int, int]) -> Tensor:
    """The images; of smaller ones an exported graph asks for an element that is not there.

    Without this a graph would pad them to a patch, and answer.
    """
    if not torch.compiler.is_exporting():
        return images  # the network itself refuses them
    one = images.new_ones(1)
    for side, least in zip(images.shape[-2:], smallest, strict=True):
        missing = torch.clamp(least - torch.full((1,), side, device=images.device), min=0)
        images = images * one[missing]
    return images


def _named(found, name: str) -> Iterable[tuple[str, Tensor]]:
    """A backbone's outputs: `TowerOutputs`, tokens and a grid of a ViT, or maps."""
    if hasattr(found, "_asdict"):
        yield from _named(found.maps, name)
        yield "tokens", found.tokens
    elif isinstance(found, (tuple, list)):
        for index, one in enumerate(found):
            if isinstance(one, Tensor):
                yield ("tokens" if one.ndim == 3 else f"{name}_{index}"), one
    else:
        yield name, found


def _of_heads(found) -> Iterable[tuple[str, Tensor]]:
    if isinstance(found, Tensor):
        yield "logits", found
    elif isinstance(found, Mapping):
        yield from found.items()
    elif isinstance(found, TowerLogits):
        yield from dict(cnn=found.cnn, vit=found.vit, logits=found.joint).items()
    else:  # of a detector: lists over the levels
        for name, levels in zip(("cls_score", "bbox_pred", "centerness"), found, strict=False):
            for index, level in enumerate(levels):
                yield f"{name}_{index}", level
