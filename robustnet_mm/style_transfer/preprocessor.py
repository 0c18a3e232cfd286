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

    The networks behind it normalise for themselves.

    Args:
        mean: [0, 0, 0]; it stands in the config for those that read it.
        std: [255, 255, 255].
        bgr_to_rgb: True: pictures are loaded with blue first.
        kwargs: As in mmengine.

    Raises:
        ValueError: Other values.
    """

    def __init__(self, mean, std, bgr_to_rgb: bool, **kwargs):
        if [*map(float, mean), *map(float, std)] != [0.0] * 3 + [
            255.0
        ] * 3 or bgr_to_rgb is not True:
            raise ValueError(
                "data_preprocessor must have mean=[0, 0, 0], std=[255, 255, 255] and "
                f"bgr_to_rgb=True, got {mean}, {std} and {bgr_to_rgb}"
            )
        super().__init__(mean, std, bgr_to_rgb=bgr_to_rgb, **kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """`inputs=dict(content=[(3, H, W) uint8, ...], style=[...])` -> the same as floats"""
        data = self.cast_data(data)
        for name in ("content", "style"):
            pictures = data["inputs"][name]
            data["inputs"][name] = [self._normalized(picture) for picture in pictures]
        return data

    def _normalized(self, picture: torch.Tensor) -> torch.Tensor:
        return picture.flip(0).float() / 255
