"""Files that run elsewhere: ONNX, and torch's ExportedProgram; each checked against the model."""

import io
import json
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor

from robustnet_mm.files import WholeFileBackend

from .parts import Part

# (images, height, width) on which a file is compared: other shapes than the example's, odd ones too
SIZES = (
    (1, 224, 224),
    (2, 64, 64),
    (1, 256, 256),
    (1, 320, 481),
    (3, 192, 320),
    (1, 225, 223),
    (1, 100, 300),
    (1, 333, 127),
    (1, 512, 384),
    (2, 97, 97),
)
EXAMPLE = (2, 3, 96, 160)
MOST = 1e-3  # a difference beyond it, as a share of the largest value, is no rounding
_DYNAMIC = torch.export.Dim.DYNAMIC
_SHAPES = ({0: _DYNAMIC, 2: _DYNAMIC, 3: _DYNAMIC},)


def export_onnx(
    part: Part,
    file: str | Path,
    metadata: Mapping[str, str] | None = None,
    opset: int = 18,
    sizes: tuple = SIZES,
) -> float:
    """Write an ONNX file for any batch, height and width, which equals the model on `sizes`.

    Args:
        part: What is exported.
        file: Path of the file, which holds the weights too.
        metadata: Goes into the file, and with it `names`, `largest_difference` and `sizes`.
        opset: Version of the operators.
        sizes: (images, height, width) on which onnxruntime is compared with torch.

    Returns:
        The largest difference, as a share of the largest value of that output.

    Raises:
        ValueError: Something in the model cannot be exported, or the file would differ.
        ImportError: onnx or onnxruntime is not installed.
    """
    onnxruntime = _import_onnx()
    program = _traced(part)
    try:
        program = torch.onnx.export(
            program,
            input_names=["images"],
            output_names=list(part.names),
            opset_version=opset,
            verbose=False,
        )
    except Exception as error:  # torch raises many kinds
        raise _refused(part, _module_of(program, str(error)), error) from error
    proto = program.model_proto
    session = onnxruntime.InferenceSession(proto.SerializeToString())

    def run(images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(x) for x in session.run(None, {"images": images.numpy()})]

    found = compare(run, part, sizes)
    facts = dict(
        metadata or {},
        names=json.dumps(part.names),
        largest_difference=f"{found:.3g}",
        sizes=json.dumps(sizes),
    )
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, str(value)
    WholeFileBackend().put(proto.SerializeToString(), file)
    return found


def export_program(part: Part, file: str | Path, sizes: tuple = SIZES) -> float:
    """Write torch's ExportedProgram (`.pt2`), which equals the model on `sizes`; see `export_onnx`.

    torch asks of a CNN's max pooling that sides stay even, so odd sizes are left out here.
    """
    program = _traced(part)
    even = tuple(size for size in sizes if size[1] % 32 == size[2] % 32 == 0)
    found = compare(program.module(), part, even)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    WholeFileBackend().put(buffer.getvalue(), file)
    return found


@torch.no_grad()
def compare(run: Callable, part: Part, sizes: tuple) -> float:
    """Largest difference between what an exported file and the model make of noise.

    Raises:
        ValueError: It is larger than rounding.
    """
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for number, *size in sizes:
        images = torch.randn(number, 3, *size, generator=generator)
        for name, got, expected in zip(part.names, run(images), part(images), strict=True):
            scale = expected.abs().max().clamp_min(1e-12)
            difference = float((got - expected).abs().max() / scale)
            if not difference <= MOST:
                raise ValueError(
                    f"{name} of the exported file differs by {difference:.2g} of its largest value "
                    f"at {size[0]} x {size[1]}: nothing was written; export with --no-fold, and if "
                    "that differs too, report the config"
                )
            worst = max(worst, difference)
    return worst


def _import_onnx():
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"an export to ONNX needs {error.name}: pip install 'robustnet-mm[export]'"
        ) from error
    return onnxruntime


def _traced(part: Part) -> torch.export.ExportedProgram:
    """The graph of a part, for any batch, height and width.

    Raises:
        ValueError: Something in it has no graph; names the module that was running.
    """
    running, handles = [], []

    def leave(*_):
        running.pop()

    for name, module in part.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
        handles.append(module.register_forward_hook(leave))
    try:
        with redirect_stdout(io.StringIO()):  # where torch prints the graph up to its error
            example = (torch.randn(EXAMPLE),)
            return torch.export.export(part, example, dynamic_shapes=_SHAPES, strict=False)
    except Exception as error:  # torch raises many kinds
        raise _refused(part, running[-1] if running else "", error) from error
    finally:
        for handle in handles:
            handle.remove()


def _module_of(program: torch.export.ExportedProgram, text: str) -> str:
    """The module with an operator that an error of the conversion names."""
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target) in text:
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            return stack[-1][0] if stack else ""
    return ""


def _refused(part: Part, module: str, error: Exception) -> ValueError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = f" in {module}" if module else ""
    return ValueError(
        f"part={part.part!r} cannot be exported: torch stopped{where} "
        f"({lines[0] if lines else type(error).__name__}): take a smaller part, or another tower, "
        "neck or head"
    )
