"""Answers of a trained model as files, and the model itself as a folder to hand on."""

from .drawing import Drawer
from .publishing import load_published, publish
from .writers import ClassTable, CocoFile, LabelImages, writer_for

__all__ = [
    "ClassTable",
    "CocoFile",
    "Drawer",
    "LabelImages",
    "load_published",
    "publish",
    "writer_for",
]
