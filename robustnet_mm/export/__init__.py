"""Networks as files that run without this package: ONNX and torch's ExportedProgram."""

from .files import SIZES, compare, export_onnx, export_program
from .parts import PARTS, Part

__all__ = ["PARTS", "SIZES", "Part", "compare", "export_onnx", "export_program"]
