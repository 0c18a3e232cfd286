"""Keeping the colours of the content (Gatys et al. 2016, "Preserving Color in Neural Artistic
Style Transfer").

Pictures are (H, W, 3) uint8, RGB.
"""

import cv2
import numpy as np


def with_luminance_of(painted: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The content's colours under the painted picture's luminance (their section 3.2)."""
    luma, colour = (cv2.cvtColor(one, cv2.COLOR_RGB2YCrCb) for one in (painted, content))
    return cv2.cvtColor(np.dstack([luma[..., :1], colour[..., 1:]]), cv2.COLOR_YCrCb2RGB)


def match_colors(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The style with the mean and covariance of the content's colours (their section 3.1)."""
    one, other = (picture.reshape(-1, 3).astype(float) for picture in (style, content))
    spread = [_root(np.cov(pixels.T) + 1e-3 * np.eye(3)) for pixels in (one, other)]
    matched = (one - one.mean(0)) @ np.linalg.solve(spread[0], spread[1]) + other.mean(0)
    return matched.clip(0, 255).round().astype(np.uint8).reshape(style.shape)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T
