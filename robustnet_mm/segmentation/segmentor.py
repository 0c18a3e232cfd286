"""mmseg's segmentor, whose head also hears what the ViT attends to."""

from collections.abc import Mapping

from mmseg.models import EncoderDecoder
from torch import Tensor

from robustnet_mm.arguments import check_dict
from robustnet_mm.registry import MODELS

from .attention import AttentionReader


@MODELS.register_module()
class AttentiveEncoderDecoder(EncoderDecoder):
    """`EncoderDecoder` that hands `TokenAttention` to the head, behind the neck's maps.

    Args:
        attention: Of `AttentionReader`: `dict(blocks=[-1], asked='class', control=None)`.
        kwargs: Of mmseg's `EncoderDecoder`; the backbone is a `RobustNet` with out_type='towers',
            the neck a `TowerNeck` or a list that starts with one.

    Raises:
        ValueError: A backbone without a ViT tower of ours, or as `AttentionReader`.
    """

    def __init__(self, attention: Mapping | None = None, **kwargs):
        super().__init__(**kwargs)
        attention = {} if attention is None else attention
        check_dict("attention", attention, "dict(blocks=[-1], asked='class')")
        self.reader = AttentionReader(self.backbone, **attention)

    def extract_feat(self, inputs: Tensor) -> tuple:
        """(N, 3, H, W) -> the neck's maps and, last, their `TokenAttention`."""
        with self.reader:
            outputs = self.backbone(inputs)
        return (*self.neck(outputs), self.reader.attention(outputs.grid))
