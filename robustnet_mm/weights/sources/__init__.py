"""The keys of published networks: one literal table per source, all in regular expressions.

Every table leads to timm's own names, or to the Conformer authors'; from there each module knows
which keys are its own (`WeightsSpec.keys`).
"""

from .cnn import CNN_SOURCES, conformer_keys, resnet_keys
from .vit import VIT_SOURCES

# the first whose key is there is taken, so special cases stand before the plain ones
SOURCES = (*CNN_SOURCES, *VIT_SOURCES)

__all__ = ["SOURCES", "conformer_keys", "resnet_keys"]
