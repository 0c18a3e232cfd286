"""Imports only go down: read from the imports themselves."""

import ast
from pathlib import Path

import pytest
from helpers import ROOT

PACKAGE = ROOT / "robustnet_mm"
# from the ground up; what stands on one line does not import each other
FLOORS = [
    {"arguments", "intervals", "processes", "ops", "hosts"},
    {"registry", "files"},
    {"weights"},
    {"models"},
    {"datasets"},
    {"engine"},
    {"attention", "visual_tokens"},
    {"look", "studies", "style_transfer", "selfsup", "segmentation"}
    | {"export", "inference", "robustness"},
]
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path):
    """(room, line) of every import of this package in a file, within functions as well."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "robustnet_mm" and len(parts) > 1:
                yield parts[1], node.lineno


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path):
    room = room_of(path)
    if room == "__init__":
        assert not list(imported(path))  # `import robustnet_mm` imports nothing
        return
    assert room in HEIGHT, f"{room} has no floor: add it to FLOORS where it stands"
    for other, line in imported(path):
        lower = HEIGHT[other] < HEIGHT[room]
        assert other == room or lower, f"{path}:{line}: {room} imports {other}, which is no lower"
