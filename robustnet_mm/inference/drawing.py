"""Predictions drawn into their image by the host's own visualizer."""

import numpy as np
from mmengine.registry import VISUALIZERS
from mmengine.visualization import BaseVisBackend

from robustnet_mm.datasets.own_data import palette
from robustnet_mm.engine.trained import TrainedModel


class _Kept(BaseVisBackend):
    """Keeps the last picture, where other backends write it."""

    def __init__(self):
        self.image = None

    @property
    def experiment(self):
        return self

    def _init_env(self):
        pass

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs):
        self.image = image


class Drawer:
    """Draws what a trained model says.

    Args:
        trained: The model.
        score_thr: Detections below it are left out.
    """

    def __init__(self, trained: TrainedModel, score_thr: float = 0.3):
        self._kept, host = _Kept(), trained.host
        kind = VISUALIZERS.get(host.visualizer)  # built by the registry it would be one for all
        self._visualizer = kind(vis_backends=[self._kept])
        classes = tuple(trained.classes) or None
        colours = palette(classes) if classes else None
        self._visualizer.dataset_meta = dict(classes=classes, palette=colours)
        self._method = getattr(self._visualizer, host.draws_by)
        self._options = dict(pred_score_thr=score_thr) if host.detects else {}

    def __call__(self, pixels: np.ndarray, sample: object) -> np.ndarray:
        """An image (H, W, 3) uint8 RGB and the host's data sample -> the same with predictions."""
        self._method(name="image", image=pixels, data_sample=sample, draw_gt=False, **self._options)
        return np.ascontiguousarray(self._kept.image)
