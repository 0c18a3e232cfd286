"""Packages that only the pictures need, imported when a picture asks for them."""

from importlib import import_module
from types import ModuleType

_DISTRIBUTIONS = {"captum": "captum", "pytorch_grad_cam": "grad-cam", "tensorboard": "tensorboard"}


def need(module: str) -> ModuleType:
    """Import a module of an optional package.

    Raises:
        ImportError: It is not installed; names the extra that brings it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = _DISTRIBUTIONS.get(module.partition(".")[0], module)
        raise ImportError(
            f"this picture needs the package {name} ({error}): pip install 'robustnet-mm[analysis]'"
        ) from error
