"""Looking inside: which tower sees what.

`Subject` builds a model from a config and reads images as the model sees them. Each `view_*` is a
function `(subject, picture, settings) -> (panel, arrays)`, and below it are functions `(model,
images) -> arrays`, whose images (N, 3, H, W) come from the data preprocessor. Importing this is
not part of importing `robustnet_mm`; captum and grad-cam are imported when they are asked for.
"""

from robustnet_mm.models.probe import ExchangeProbe, channel_strengths, exchange_shares

from .attention import attention, attention_distance, attention_matrix, rollout, uniform_distance
from .cams import cam
from .closing import closed_exchanges, compare_towers, scaled_exchanges
from .detections import Annotations, Detections, compare_detections, detect
from .features import edges, features, pca_colours, top_channels
from .gradients import (
    activations_of,
    exchange_gradients,
    guided_backprop,
    integrated_gradients,
    receptive_field,
    saliency,
)
from .outputs import DetectionLogits, Logits, tower_scores
from .randomisation import cascading_randomisation
from .subject import Picture, Subject, find_images, stream
from .views_answers import view_compare, view_predict
from .views_attention import view_attention, view_significance
from .views_inside import (
    view_edges,
    view_exchange,
    view_features,
    view_randomisation,
    view_receptive_field,
    view_weights,
)
from .views_why import (
    view_cam,
    view_gradients,
    view_guided_backprop,
    view_integrated_gradients,
    view_saliency,
)
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
    "channel_strengths",
    "closed_exchanges",
    "compare_detections",
    "compare_towers",
    "detect",
    "edges",
    "exchange_gradients",
    "exchange_shares",
    "features",
    "find_images",
    "guided_backprop",
    "integrated_gradients",
    "pca_colours",
    "receptive_field",
    "rollout",
    "saliency",
    "scaled_exchanges",
    "stream",
    "top_channels",
    "tower_scores",
    "uniform_distance",
    "view_attention",
    "view_cam",
    "view_compare",
    "view_edges",
    "view_exchange",
    "view_features",
    "view_gradients",
    "view_guided_backprop",
    "view_integrated_gradients",
    "view_predict",
    "view_randomisation",
    "view_receptive_field",
    "view_saliency",
    "view_significance",
    "view_weights",
    "weight_histograms",
]
