"""A pair of pictures on its way to the model, and what the model says of it."""

import torch
from mmengine.model import ImgDataPreprocessor
from mmengine.structures import BaseDataElement

from robustnet_mm.registry import MODELS


class StyleSample(BaseDataElement):
    """One pair.

    `content_path` and `style_path` say where it is from; a prediction has `picture`, (3, H, W) of
    uint8 in RGB, of the content's size.
    """


@MODELS.register_module()
class StylePreprocessor(ImgDataPreprocessor):
    """Contents and styles, each picture with its own size, to RGB in 0..1.

    As in mmengine, with `mean=[0, 0, 0], std=[255, 255, 255], bgr_to_rgb=True`: the networks
    behind it normalise for themselves.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """`inputs=dict(content=[(3, H, W) uint8, ...], style=[...])` -> the same as floats"""
        data = self.cast_data(data)
        for name in ("content", "style"):
            pictures = data["inputs"][name]
            data["inputs"][name] = [self._normalized(picture) for picture in pictures]
        return data

    def _normalized(self, picture: torch.Tensor) -> torch.Tensor:
        picture = picture.flip(0) if self._channel_conversion else picture
        return (picture.float() - self.mean) / self.std
