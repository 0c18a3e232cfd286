"""What transformers attend to, for heads and losses of a training, and how much it means."""

from .losses import MeaningfulAttention
from .metric import SignificanceMetric
from .model import AttentionProbe
from .reader import Attention, AttentionReader, Reader, TokenAttention, reader_of
from .significance import numbers_of, significance

__all__ = [
    "Attention",
    "AttentionProbe",
    "AttentionReader",
    "MeaningfulAttention",
    "Reader",
    "SignificanceMetric",
    "TokenAttention",
    "numbers_of",
    "reader_of",
    "significance",
]
