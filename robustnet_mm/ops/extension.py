"""What stands at `mmcv._ext`: mmcv's names for operators, on torchvision.

mmcv imports `mmcv._ext` and asks for each operator by name. Those below are real; any other name
answers with a function that says so when it is called, so that importing mmdet costs nothing.
"""

from collections.abc import Callable
from importlib.metadata import version

from .attention import ms_deform_attn_backward, ms_deform_attn_forward
from .boxes import bbox_overlaps, nms, nms_match, softnms
from .deform import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from .focal import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from .pooling import roi_align_backward, roi_align_forward, roi_pool_backward, roi_pool_forward

OPERATORS = (
    bbox_overlaps,
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
    ms_deform_attn_backward,
    ms_deform_attn_forward,
    nms,
    nms_match,
    roi_align_backward,
    roi_align_forward,
    roi_pool_backward,
    roi_pool_forward,
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
    softnms,
)


def get_compiler_version() -> str:
    """For the host's list of versions."""
    return "none: operators on torchvision, by robustnet_mm"


def get_compiling_cuda_version() -> str:
    """For the host's list of versions."""
    return f"that of torchvision {version('torchvision')}"


def __getattr__(name: str) -> Callable:
    """An operator that is not there: an error when it is called."""
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args, **kwargs):
        names = ", ".join(operator.__name__ for operator in OPERATORS)
        raise RuntimeError(
            f"mmcv's operator must be one of those that run on torchvision ({names}), got "
            f"{name!r}: take a layer that does without it, or install mmcv with its compiled "
            "operators (CONTRIBUTING.md of robustnet_mm says how)"
        )

    return missing
