"""mmseg's segmentor, whose head also hears what the ViT attends to."""

from collections.abc import Mapping

from mmseg.models import EncoderDecoder
from torch import Tensor

from robustnet_mm.arguments import check_dict
from robustnet_mm.models import RobustNet
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
        woven = isinstance(self.backbone, RobustNet) and self.backbone.out_type == "towers"
        if not woven or not self.with_neck:
            raise ValueError(
                "AttentiveEncoderDecoder needs a robustnet_mm.RobustNet with out_type='towers' and "
                "neck=dict(type='robustnet_mm.TowerNeck', ...), got backbone "
                f"{type(self.backbone).__name__} and {'a' if self.with_neck else 'no'} neck"
            )
        self.reader = AttentionReader(self.backbone, **attention)

    def extract_feat(self, inputs: Tensor) -> tuple:
        """(N, 3, H, W) -> the neck's maps and, last, their `TokenAttention`."""
        with self.reader:
            outputs = self.backbone(inputs)
        return (*self.neck(outputs), self.reader.attention(outputs.grid))

    def _auxiliary_head_forward_train(self, inputs, data_samples) -> dict:
        """Auxiliary heads read the maps alone."""
        return super()._auxiliary_head_forward_train(inputs[:-1], data_samples)
