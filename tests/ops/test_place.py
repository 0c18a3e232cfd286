"""`python -m robustnet_mm.ops`, beside a stand-in for mmcv and beside the real one."""

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES

import pytest
from helpers import ROOT

from robustnet_mm.ops import place


@pytest.fixture
def bare(tmp_path):
    """An mmcv without operators, in front of the installed one."""
    folder = tmp_path / "mmcv"
    folder.mkdir()
    (folder / "__init__.py").touch()
    return folder


def python(folder, *command):
    """Run Python where `folder` is the mmcv; (exit status, output)."""
    path = os.pathsep.join([str(folder.parent), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder.parent,
    )
    return done.returncode, done.stdout + done.stderr


def ops(folder, *action):
    return python(folder, "-m", "robustnet_mm.ops", *action)


def test_installing_puts_one_file_beside_mmcv_and_removing_takes_it_away(bare):
    assert ops(bare) == (1, "mmcv has no operators: python -m robustnet_mm.ops install\n")
    code, output = ops(bare, "install")
    assert code == 0 and "on torchvision" in output and str(bare / "_ext.py") in output
    assert ops(bare, "install")[0] == 0
    assert sorted(path.name for path in bare.glob("*.py")) == ["__init__.py", "_ext.py"]
    code, output = python(bare, "-c", "import mmcv._ext as e; print(e.nms.__module__, e.anything)")
    assert code == 0 and "robustnet_mm.ops.boxes" in output
    assert ops(bare, "remove")[0] == 0
    assert not (bare / "_ext.py").exists()


def test_compiled_operators_are_never_replaced(bare):
    library = bare / f"_ext{EXTENSION_SUFFIXES[0]}"
    library.write_bytes(b"no library")
    code, output = ops(bare, "install")
    assert code == 1 and f"compiled operators ({library}) do not load" in output
    assert not (bare / "_ext.py").exists()


def test_somebody_elses_file_is_left_alone(bare):
    (bare / "_ext.py").write_text("nms = None\n")
    code, output = ops(bare, "install")
    assert code == 1 and "move it away first" in output and "Traceback" not in output
    assert ops(bare, "remove")[0] == 0
    assert (bare / "_ext.py").read_text() == "nms = None\n"


def test_our_tools_bring_the_operators_where_nothing_was_installed(bare):
    code = "from robustnet_mm.ops.place import provide; provide(); import mmcv._ext as e; e.nms"
    assert python(bare, "-c", code) == (0, "")


def test_a_host_that_is_imported_before_this_package_finds_them():
    if not place.placed() or place.compiled():
        pytest.skip("mmcv uses other operators here: python -m robustnet_mm.ops install")
    code = "from mmcv.ops.nms import ext_module; print(ext_module.__file__, ext_module.softnms)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout.startswith(str(place.mmcv_folder() / "_ext.py")), done.stderr
