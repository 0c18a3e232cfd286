"""Looking inside: which tower sees what. Each picture is a function `(model, images) -> arrays`.

Images are those that the model sees, (N, 3, H, W) after the data preprocessor; `Subject` builds a
model from a config and reads images so. Importing this is not part of importing `robustnet_mm`;
captum and grad-cam are imported when they are asked for.
"""

from .attention import attention, attention_distance, attention_matrix, rollout, uniform_distance
from .cams import cam
from .detections import Annotations, Detections, compare_detections, detect
from .exchange import ExchangeProbe, exchange_shares, gate_values
from .features import edges, features, pca_colours, top_channels
from .gates import closed_gates, compare_towers
from .gradients import (
    activations_of,
    exchange_gradients,
    guided_backprop,
    integrated_gradients,
    saliency,
)
from .outputs import DetectionLogits, Logits, tower_scores
from .randomisation import cascading_randomisation
from .subject import Picture, Subject, find_images, stream
from .weights import weight_histograms

__all__ = [
    "Annotations",
    "DetectionLogits",
    "Detections",
    "ExchangeProbe",
    "Logits",
    "Picture",
    "Subject",
    "activations_of",
    "attention",
    "attention_distance",
    "attention_matrix",
    "cam",
    "cascading_randomisation",
    "closed_gates",
    "compare_detections",
    "compare_towers",
    "detect",
    "edges",
    "exchange_gradients",
    "exchange_shares",
    "features",
    "find_images",
    "gate_values",
    "guided_backprop",
    "integrated_gradients",
    "pca_colours",
    "rollout",
    "saliency",
    "stream",
    "top_channels",
    "tower_scores",
    "uniform_distance",
    "weight_histograms",
]
