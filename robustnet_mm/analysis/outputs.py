"""What is explained: one number of each image's output, from any classifier or detection.

Everything here takes images that went through the data preprocessor, (N, 3, H, W), and leaves the
model as it was: modes, gradients and `requires_grad` included.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

OUTPUTS = ("cnn", "vit", "sum")


@contextmanager
def undisturbed(model: nn.Module):
    """Eval mode, and no gradients of weights; afterwards all is as it was."""
    modes = {module: module.training for module in model.modules()}
    weights = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    model.eval()
    for weight, _, _ in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight, learns, grad in weights:
            weight.requires_grad_(learns)
            weight.grad = grad
        for module, mode in modes.items():
            module.training = mode


def one_by_one(images: Tensor) -> Iterator[Tensor]:
    """(N, 3, H, W) -> N times (1, 3, H, W), each with its own size if the images have sizes."""
    sizes = getattr(images, "image_sizes", None)
    for index in range(len(images)):
        yield with_sizes(images[index : index + 1].detach(), sizes and sizes[index : index + 1])


def with_sizes(images: Tensor, sizes) -> Tensor:
    """The images, which remember what of them is no padding; see `SizedDataPreprocessor`."""
    if sizes is not None:
        images.image_sizes = sizes * (len(images) // len(sizes))
    return images


def backbone_of(model: nn.Module) -> nn.Module:
    """The backbone inside a host's model, or the model itself."""
    return getattr(getattr(model, "model", model), "backbone", model)


class Logits(nn.Module):
    """A classifier as a function of its images: (N, 3, H, W) -> (N, num_classes).

    Args:
        model: mmpretrain's `ImageClassifier`, or any module from images to logits.
        output: 'cnn' or 'vit' for one head of a `TwoTowerHead`, 'sum' for both or for the logits
            of any other classifier.
        sizes: `image_sizes` of the images.

    Raises:
        ValueError: Unknown output, or a head that the model does not have.
    """

    def __init__(self, model: nn.Module, output: str = "sum", sizes=None):
        super().__init__()
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(OUTPUTS)}, got {output!r}")
        self.model, self.output, self.sizes = model, output, sizes

    def forward(self, images: Tensor) -> Tensor:
        images = with_sizes(images, self.sizes)
        host = isinstance(self.model, BaseModel)
        found = self.model(images, mode="tensor") if host else self.model(images)
        if isinstance(found, tuple) and len(found) == 2:
            cnn, vit = found
            return {"cnn": cnn, "vit": vit, "sum": cnn + vit}[self.output]
        if isinstance(found, Tensor) and found.ndim == 2 and self.output == "sum":
            return found
        raise ValueError(
            f"output={self.output!r} needs a classifier with "
            f"{'one head or two' if self.output == 'sum' else 'a TwoTowerHead'}, got "
            f"{type(self.model).__name__}: set output='sum', or explain a detection by "
            "DetectionLogits"
        )


class DetectionLogits(nn.Module):
    """Detections as a function of the image: (1, 3, H, W) -> (1, K) logits of their classes.

    Each box is fixed, and the region head classifies what it finds there; the logit of the
    detection's own class is what is explained.

    Args:
        model: A two-stage detector of mmdet.
        boxes: (K, 4) in pixels of the images that enter: x1, y1, x2, y2.
        labels: (K,) classes.
        sizes: `image_sizes` of the image.

    Raises:
        ValueError: A detector without region head.
    """

    def __init__(self, model: nn.Module, boxes: Tensor, labels: Tensor, sizes=None):
        super().__init__()
        if not hasattr(model, "roi_head"):
            raise ValueError(
                "detections are explained by the region head of a two-stage detector, got "
                f"{type(model).__name__}: take a Faster, Mask or Cascade R-CNN config, or KIND "
                "features, attention, exchange or predict"
            )
        self.model, self.boxes, self.labels, self.sizes = model, boxes, labels, sizes

    def forward(self, images: Tensor) -> Tensor:
        from mmdet.structures.bbox import bbox2roi

        head = self.model.roi_head
        maps = self.model.extract_feat(with_sizes(images, self.sizes))
        last = [len(head.bbox_head) - 1] if isinstance(head.bbox_head, nn.ModuleList) else []
        scores = head._bbox_forward(*last, maps, bbox2roi([self.boxes]))["cls_score"]
        return scores.gather(1, self.labels[:, None]).T  # (K, classes) -> (1, K)


def explained(model: nn.Module, output: str, images: Tensor) -> nn.Module:
    """The model as a function from images to logits; `Logits` and `DetectionLogits` pass."""
    if isinstance(model, (Logits, DetectionLogits)):
        return model
    return Logits(model, output, getattr(images, "image_sizes", None))


def choose_target(function: nn.Module, images: Tensor, target: int | None) -> int:
    """The class to explain: that of the highest logit where none is named.

    Raises:
        ValueError: `target` is no class of the model.
    """
    with torch.no_grad():
        logits = function(images)
    if target is None:
        return int(logits[0].argmax())
    if not 0 <= target < logits.size(1):
        raise ValueError(
            f"target must be a class in 0..{logits.size(1) - 1}, got {target}: name one of the "
            "model's classes by its number, or none for the predicted one"
        )
    return target


@torch.no_grad()
def tower_scores(model: nn.Module, images: Tensor) -> dict[str, "torch.Tensor"]:
    """Softmax of each output that the classifier has: output -> (N, num_classes)."""
    with undisturbed(model):
        host = isinstance(model, BaseModel)
        found = model(images, mode="tensor") if host else model(images)
    if isinstance(found, tuple):
        found = {"cnn": found[0], "vit": found[1], "sum": found[0] + found[1]}
    else:
        found = {"sum": found}
    return {name: logits.float().softmax(1) for name, logits in found.items()}
