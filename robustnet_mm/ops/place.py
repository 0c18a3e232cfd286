"""Where mmcv finds its operators: compiled ones, these, or none.

Python prefers a compiled `_ext.*.so` to an `_ext.py` in the same folder, so whoever has compiled
operators keeps them.
"""

import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

MARK = "operators of robustnet_mm"
TEXT = f'''"""mmcv's operators on torchvision: {MARK}.

Written by `python -m robustnet_mm.ops install`; `python -m robustnet_mm.ops remove` takes it away.
"""

try:
    from robustnet_mm.ops.extension import *  # noqa: F403
    from robustnet_mm.ops.extension import __getattr__  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"mmcv's operators come from robustnet_mm, which does not import ({{error}}): "
        f"install it, or delete {{__file__}}"
    ) from error
'''


def mmcv_folder() -> Path:
    """The folder of the installed mmcv.

    Raises:
        ModuleNotFoundError: There is none.
    """
    spec = find_spec("mmcv")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "mmcv must be installed, got none: pip install onedl-mmcv, or `make install`"
        )
    return Path(spec.submodule_search_locations[0])


def compiled() -> Path | None:
    """mmcv's compiled extension for this Python, if there is one."""
    folder = mmcv_folder()
    found = [folder / f"_ext{suffix}" for suffix in EXTENSION_SUFFIXES]
    return next((path for path in found if path.is_file()), None)


def python_file() -> Path:
    """Where mmcv finds operators in Python, those of this package or another's."""
    return mmcv_folder() / "_ext.py"


def placed() -> bool:
    """Whether `install` has been called for this mmcv."""
    file = python_file()
    return file.is_file() and MARK in file.read_text(encoding="utf-8")


def status() -> tuple[bool, str]:
    """Whether mmcv has operators that load, and a line that says which."""
    extension, file = compiled(), python_file()
    if not extension and not file.is_file():
        return False, "mmcv has no operators: python -m robustnet_mm.ops install"
    try:
        import_module("mmcv._ext")
    except ImportError as error:
        kind = "compiled operators" if extension else "operators"
        return False, (
            f"mmcv's {kind} ({extension or file}) do not load ({error}): install an mmcv that "
            "was compiled for this torch, or one without compiled operators"
        )
    if extension:
        return True, f"mmcv's own compiled operators: {extension}"
    if placed():
        return True, f"mmcv's operators on torchvision {version('torchvision')}: {file}"
    return True, f"mmcv's operators of somebody else: {file}"


def install() -> None:
    """Put a small file beside mmcv that leads to `extension`; compiled operators stay in use.

    Raises:
        FileExistsError: Somebody else's `_ext.py` is there.
    """
    if compiled() is None:
        file = python_file()
        if file.exists() and not placed():
            raise FileExistsError(
                f"{file} must be of this package or absent, got another's: move it away first"
            )
        part = file.with_suffix(".part")
        part.write_text(TEXT, encoding="utf-8")
        part.replace(file)


def remove() -> None:
    """Take that file away; another `_ext.py` is left alone."""
    if placed():
        python_file().unlink()


def provide() -> None:
    """For this process alone, and only where mmcv has no operators of any kind."""
    there = "mmcv._ext" in sys.modules or compiled() or python_file().is_file()
    if not there:
        sys.modules["mmcv._ext"] = import_module("robustnet_mm.ops.extension")
