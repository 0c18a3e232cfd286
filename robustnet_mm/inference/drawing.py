"""Predictions drawn into their image by the host's own visualizer."""

import numpy as np
from mmengine.registry import VISUALIZERS
from mmengine.visualization import BaseVisBackend

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
        self._visualizer = VISUALIZERS.build(
            dict(type=host.visualizer, vis_backends=[self._kept], name=f"drawer_{id(self)}")
        )
        self._visualizer.dataset_meta = dict(classes=trained.classes or None)
        self._method = getattr(self._visualizer, host.draws_by)
        self._options = dict(pred_score_thr=score_thr) if host.detects else {}

    def __call__(self, pixels: np.ndarray, sample: object) -> np.ndarray:
        """An image (H, W, 3) uint8 RGB and the host's data sample -> the same with predictions."""
        self._method(name="image", image=pixels, data_sample=sample, draw_gt=False, **self._options)
        return np.ascontiguousarray(self._kept.image)
