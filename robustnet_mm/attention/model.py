"""A backbone that is asked for its attention alone, so that a test loop can judge it."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor

from robustnet_mm.arguments import check_dict
from robustnet_mm.models.probe import vit_tower_of
from robustnet_mm.models.sized_images import own_sizes
from robustnet_mm.registry import MODELS, build_part

from .reader import AttentionReader

_BACKBONE = "dict(type='robustnet_mm.ViTTower', model_name='deit_tiny_patch16_224')"


@MODELS.register_module()
class AttentionProbe(BaseModel):
    """The attention of a backbone's ViT, image by image.

    Args:
        backbone: Config of a `RobustNet` or a `ViTTower`, or one that was built.
        attention: Of `AttentionReader`: `dict(blocks=[-1], asked='class')`. By default the last
            block, and what patches receive where there is no class token.
        data_preprocessor: As in mmengine.

    Raises:
        ValueError: As `AttentionReader`.
    """

    def __init__(self, backbone, attention: Mapping | None = None, data_preprocessor=None):
        super().__init__(data_preprocessor)
        if isinstance(backbone, Mapping):
            backbone = build_part("backbone", backbone, _BACKBONE)
        if attention is not None:
            check_dict("attention", attention, "dict(blocks=[-1], asked='class')")
        self.backbone = backbone
        vit = vit_tower_of(backbone)
        asked = "class" if vit is None or vit.has_class_token else "received"
        self.reader = AttentionReader(backbone, **{"asked": asked, **(attention or {})})

    def forward(self, inputs, data_samples: Sequence | None = None, mode: str = "tensor"):
        """As in mmengine.

        Args:
            inputs: (N, 3, H, W).
            data_samples: N of a host; for 'predict' their masks are what attention is judged by.
            mode: 'tensor' gives the attention of all images; 'predict' for each image, without its
                padding, `dict(attention, sample)`.

        Raises:
            ValueError: Another mode: nothing is trained here.
        """
        if mode not in ("tensor", "predict"):
            raise ValueError(f"mode must be one of tensor, predict, got {mode!r}")
        if mode == "tensor":
            return self._attention(inputs)
        images, _ = own_sizes(inputs)
        found = []
        with torch.no_grad():
            for image, sample in zip(images, data_samples, strict=True):
                height, width = sample.img_shape[:2]
                own = image[None, :, :height, :width]  # others of the batch change nothing
                found.append(dict(attention=self._attention(own), sample=sample))
        return found

    def _attention(self, images: Tensor):
        with self.reader:
            outputs = self.backbone(images)
        return self.reader.attention(outputs)
