"""mmseg's segmentor, whose head also hears what a transformer attends to."""

from collections.abc import Mapping, Sequence

import torch
from mmseg.models import EncoderDecoder
from torch import Tensor

from robustnet_mm.arguments import check_dict, check_wholes
from robustnet_mm.attention import Attention, reader_of
from robustnet_mm.attention.masks import foreground_of, patch_shares
from robustnet_mm.models import RobustNet, ViTTower
from robustnet_mm.registry import MODELS, build_part


@MODELS.register_module()
class AttentiveEncoderDecoder(EncoderDecoder):
    """`EncoderDecoder` that hands the backbone's `Attention` to the head, behind the maps.

    Args:
        attention: Of the reader: `dict(blocks=[-1], asked='class', control=None)`; see
            `robustnet_mm.attention.reader_of`.
        attention_loss: Config of a `MeaningfulAttention`; None for no such loss.
        foreground: Classes to which the attention shall go; None: `attention_loss` does not look at
            the labels.
        kwargs: Of mmseg's `EncoderDecoder`. The backbone is a `RobustNet` with out_type='towers'
            and a neck that starts with a `TowerNeck`, a `ViTTower` with a neck such as
            `SimplePyramid`, or a Swin of mmpretrain.

    Raises:
        ValueError: A backbone without attention, or without the neck that it needs.
    """

    def __init__(
        self,
        attention: Mapping | None = None,
        attention_loss: Mapping | None = None,
        foreground: Sequence[int] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        attention = {} if attention is None else attention
        check_dict("attention", attention, "dict(blocks=[-1], asked='class')")
        if foreground is not None:
            classes = self.decode_head.num_classes
            foreground = check_wholes("foreground", tuple(foreground), 0, classes - 1)
            if attention_loss is None:
                raise ValueError(
                    f"foreground is for attention_loss, got {foreground} and no such loss: set "
                    "attention_loss=dict(type='robustnet_mm.MeaningfulAttention')"
                )
        self.reader = reader_of(self.backbone, **attention)
        if isinstance(self.backbone, (RobustNet, ViTTower)) and not self.with_neck:
            raise ValueError(
                f"the neck of a {type(self.backbone).__name__} makes the maps, got none: set "
                "neck=dict(type='robustnet_mm.TowerNeck', ...) for both towers, SimplePyramid for "
                "a ViT alone"
            )
        self.foreground, self.attention_loss = foreground, None
        if attention_loss is not None:
            example = "dict(type='robustnet_mm.MeaningfulAttention', loss_weight=0.1)"
            self.attention_loss = build_part("attention_loss", attention_loss, example)

    def extract_feat(self, inputs: Tensor) -> tuple:
        """(N, 3, H, W) -> the maps and, last, their `Attention`."""
        with self.reader:
            outputs = self.backbone(inputs)
        maps = self.neck(outputs) if self.with_neck else outputs
        return (*maps, self.reader.attention(outputs))

    def _decode_head_forward_train(self, inputs, data_samples) -> dict:
        losses = super()._decode_head_forward_train(inputs, data_samples)
        if self.attention_loss is not None:
            attention = inputs[-1]
            foreground, known = self._told(data_samples, attention)
            told = None if self.foreground is None else foreground
            losses["loss_attention"] = self.attention_loss(attention.maps(), told, known)
        return losses

    def _told(self, data_samples, attention: Attention) -> tuple[Tensor, Tensor]:
        """Of each patch the shares of foreground and of what is known: (N, h, w) each"""
        shares = []
        for sample in data_samples:
            masks = foreground_of(sample, self.foreground or ())
            size = tuple(masks[0].shape)
            shares.append(patch_shares(*masks, size, attention.grid, attention.patch_size))
        foreground, known = zip(*shares, strict=True)
        return torch.stack(foreground), torch.stack(known)

    def _auxiliary_head_forward_train(self, inputs, data_samples) -> dict:
        """Auxiliary heads read the maps alone."""
        return super()._auxiliary_head_forward_train(inputs[:-1], data_samples)
