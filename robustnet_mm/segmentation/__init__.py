"""Semantic segmentation on mmseg: heads that a ViT's attention helps, and your own masks.

Configs import this by `custom_imports`, so that nobody else needs mmseg (extra `seg`).
"""

try:
    import mmseg  # noqa: F401
except ImportError as error:
    raise ImportError(
        "segmentation needs mmseg: pip install onedl-mmsegmentation 'robustnet-mm[seg]' "
        "(docs/segmentation.md)"
    ) from error

from .dataset import ImagesAndLabels
from .heads import AffinityFusionHead, AttentionFusionHead
from .labels import LoadLabels
from .segmentor import AttentiveEncoderDecoder

__all__ = [
    "AffinityFusionHead",
    "AttentionFusionHead",
    "AttentiveEncoderDecoder",
    "ImagesAndLabels",
    "LoadLabels",
]
