"""Pictures in 0..1, as the networks take them, and in whole values 0..255."""

import numpy as np
import torch
from torch import Tensor


def to_unit(pixels: Tensor) -> Tensor:
    """(3, H, W) uint8 -> (1, 3, H, W) in 0..1"""
    return pixels[None].float() / 255


def to_bytes(picture: Tensor) -> Tensor:
    """(3, H, W) around 0..1 -> uint8, rounded"""
    return (picture.clamp(0, 1) * 255).round().byte()


def from_array(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W)"""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def to_array(pixels: Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)"""
    return pixels.cpu().numpy().transpose(1, 2, 0)
