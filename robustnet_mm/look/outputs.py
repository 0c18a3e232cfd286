"""What is explained: one number of each image's output, from any classifier or detection.

Everything here takes images that went through the data preprocessor, (N, 3, H, W), and leaves the
model as it was: modes, gradients and `requires_grad` included.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from robustnet_mm.models import TowerLogits
from robustnet_mm.models.probe import undisturbed
from robustnet_mm.models.sized_images import SizedImages, own_sizes

OUTPUTS = ("cnn", "vit", "sum")


def one_by_one(images: Tensor) -> Iterator[Tensor]:
    """(N, 3, H, W) -> N times (1, 3, H, W), each with its own size if the images have sizes."""
    sizes = own_sizes(images)[1]
    for index in range(len(images)):
        yield with_sizes(images[index : index + 1].detach(), sizes and sizes[index : index + 1])


def with_sizes(images: Tensor, sizes) -> Tensor:
    """The images, which remember what of them is no padding; see `SizedDataPreprocessor`."""
    if sizes is not None:
        return SizedImages.of(images, sizes * (len(images) // len(sizes)))
    return images


class Logits(nn.Module):
    """A classifier as a function of its images: (N, 3, H, W) -> (N, num_classes).

    Args:
        model: mmpretrain's `ImageClassifier`, or any module from images to logits.
        output: 'cnn' or 'vit' for one head of a `TwoTowerHead`, 'sum' for its prediction or for the
            logits of any other classifier.
        sizes: `image_sizes` of the images.

    Raises:
        ValueError: Unknown output, or a head that the model does not have.
    """

    def __init__(self, model: nn.Module, output: str = "sum", sizes=None):
        super().__init__()
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(OUTPUTS)}, got {output!r}")
        self.model, self.output, self.sizes = model, output, sizes

    def heads(self, images: Tensor) -> dict[str, Tensor]:
        """Every output that the classifier has, of one pass: output -> (N, num_classes)."""
        images = with_sizes(images, self.sizes)
        host = isinstance(self.model, BaseModel)
        found = self.model(images, mode="tensor") if host else self.model(images)
        heads = {}
        if isinstance(found, TowerLogits):
            heads = {"cnn": found.cnn, "vit": found.vit, "sum": found.joint}
        elif isinstance(found, Tensor) and found.ndim == 2:
            heads = {"sum": found}
        if self.output not in heads:
            raise ValueError(
                f"output={self.output!r} needs a classifier with "
                f"{'one head or two' if self.output == 'sum' else 'a TwoTowerHead'}, got "
                f"{type(self.model).__name__}: set output='sum', or explain a detection by "
                "DetectionLogits"
            )
        return heads

    def forward(self, images: Tensor) -> Tensor:
        return self.heads(images)[self.output]


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

    output = "sum"  # the one that there is

    def __init__(self, model: nn.Module, boxes: Tensor, labels: Tensor, sizes=None):
        super().__init__()
        if not hasattr(model, "roi_head"):
            raise ValueError(
                "detections are explained by the region head of a two-stage detector, got "
                f"{type(model).__name__}: take a Faster, Mask or Cascade R-CNN config, or look at "
                "its features, attention, exchanges or predictions"
            )
        self.model, self.boxes, self.labels, self.sizes = model, boxes, labels, sizes

    def forward(self, images: Tensor) -> Tensor:
        from mmdet.structures.bbox import bbox2roi

        head = self.model.roi_head
        maps = self.model.extract_feat(with_sizes(images, self.sizes))
        last = [len(head.bbox_head) - 1] if isinstance(head.bbox_head, nn.ModuleList) else []
        scores = head._bbox_forward(*last, maps, bbox2roi([self.boxes]))["cls_score"]
        return scores.gather(1, self.labels[:, None]).T  # (K, classes) -> (1, K)

    def heads(self, images: Tensor) -> dict[str, Tensor]:
        """As those of `Logits`."""
        return {self.output: self(images)}


def explained(model: nn.Module, output: str, images: Tensor) -> nn.Module:
    """The model as a function from images to logits; `Logits` and `DetectionLogits` pass."""
    if isinstance(model, (Logits, DetectionLogits)):
        return model
    return Logits(model, output, own_sizes(images)[1])


def pick_target(logits: Tensor, target: int | None) -> int:
    """The class to explain: that of the highest logit (1, classes) where none is named.

    Raises:
        ValueError: `target` is no class of the model.
    """
    if target is None:
        return int(logits[0].argmax())
    if not 0 <= target < logits.size(1):
        raise ValueError(
            f"target must be a class in 0..{logits.size(1) - 1}, got {target}: name one of the "
            "model's classes by its number, or none for the predicted one"
        )
    return target


@torch.no_grad()
def predicted(function: nn.Module, images: Tensor) -> int:
    """The class of the highest logit."""
    return pick_target(function(images), None)


@contextmanager
def checking(function: nn.Module, target: int):
    """Within it, each run of the function looks whether `target` is a class of its logits."""

    def check(module, args, logits):
        pick_target(logits, target)

    handle = function.register_forward_hook(check)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def tower_scores(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Softmax of each output that the classifier has: output -> (N, num_classes)."""
    with undisturbed(model):
        return softmax_of(Logits(model, sizes=own_sizes(images)[1]).heads(images))


def softmax_of(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """Output -> its scores, in single precision."""
    return {name: one.detach().float().softmax(1) for name, one in logits.items()}
