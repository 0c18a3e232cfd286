"""torchvision's compiled kernels, and the numbers that they compute with."""

import torch
import torchvision  # noqa: F401 (registers its kernels)
from torch import Tensor

KERNELS = torch.ops.torchvision


def in_full(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, those of half precision in float32: for what leaves its range or its digits."""
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)


def computable(tensor: Tensor) -> Tensor:
    """The tensor itself, or in float32 where the kernels do not know its type or lose digits.

    mmcv's operators take float16 on GPUs, and so do torchvision's. float16 on CPU and bfloat16
    are computed in float32; the caller's output keeps the input's type.
    """
    half_on_cpu = tensor.dtype == torch.float16 and tensor.device.type == "cpu"
    return tensor.float() if half_on_cpu or tensor.dtype == torch.bfloat16 else tensor
