"""tools/install.py as a user runs it, on machines that lack something.

Each test changes the real environment (interpreter, PATH, cache folder, index), mocks nothing and
reads the real message.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import install  # noqa: E402
from install_mmcv import InstallError  # noqa: E402


def run_install(folder, **env):
    """Run the installer as a user does; return (exit status, output)."""
    command = [sys.executable, str(ROOT / "tools/install.py"), "--venv", str(folder / "venv")]
    merged = {**os.environ, **env}
    done = subprocess.run(command, capture_output=True, text=True, env=merged, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def enough_disk(folder):
    """Skip where the disk check would answer before the check under test."""
    if shutil.disk_usage(folder).free < install.INSTALL_GB * 1.1e9:
        pytest.skip(f"needs {install.INSTALL_GB} GB free in {folder}")


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 20), (3, 13, 0), (4, 0, 0)])
def test_a_python_outside_the_range_is_named_with_the_range_and_the_next_step(version):
    got = ".".join(map(str, version))
    with pytest.raises(
        InstallError, match=rf"3\.10 to 3\.12 .* got {got} \(/p\); .*PYTHON=python3"
    ):
        install.check_python(version, "/p")


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 11, 7), (3, 12, 9)])
def test_a_supported_python_passes(version):
    install.check_python(version, "/p")


def interpreters(minor):
    """Return Pythons 3.`minor` that run, from the PATH and from pyenv."""
    found = [shutil.which(f"python3.{minor}")]
    found += Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")
    probe = f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"
    return [
        p
        for p in found
        if p and not subprocess.run([p, "-c", probe], stderr=subprocess.DEVNULL).returncode
    ]


@pytest.mark.parametrize("minor", [6, 8, 9, 13, 14])
def test_a_real_unsupported_interpreter_gets_the_message_not_a_syntax_error(minor, tmp_path):
    for python in interpreters(minor)[:1] or pytest.skip(f"no Python 3.{minor} on this machine"):
        command = [python, ROOT / "tools/install.py", "--venv", tmp_path / "venv"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("install: Python must be 3.10 to 3.12")


def test_without_a_compiler_the_installation_stops_before_it_downloads(tmp_path):
    enough_disk(tmp_path)
    env = dict(CXX="c++", FORCE_CUDA="0", MMCV_FIND_LINKS="")
    code, output = run_install(tmp_path, PATH="/nowhere", XDG_CACHE_HOME=str(tmp_path), **env)
    assert code == 1
    assert "a C++17 compiler must be on the PATH, got no 'c++'" in output
    assert "apt-get install g++ python3-dev" in output and "MMCV_FIND_LINKS" in output
    assert not (tmp_path / "venv").exists()


def test_a_cache_folder_that_cannot_be_made_is_explained(tmp_path):
    code, output = run_install(tmp_path, XDG_CACHE_HOME="/dev/null/cache")
    assert code == 1
    assert "/dev/null/cache" in output and "XDG_CACHE_HOME" in output


# pip ---------------------------------------------------------------------------------------------


def test_a_folder_with_other_things_is_never_emptied(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(
        InstallError, match="VENV must be a virtual environment or a new folder, got /"
    ):
        install.make_venv(tmp_path, tmp_path / "log")
    assert (tmp_path / "thesis.tex").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path, capsys):
    (tmp_path / "bin").mkdir()
    (tmp_path / "pyvenv.cfg").touch()
    (tmp_path / "bin/python").symlink_to("/nonexistent/python")
    install.make_venv(tmp_path, tmp_path.parent / "log")
    assert "making it anew" in capsys.readouterr().out
    assert subprocess.run([tmp_path / "bin/python", "-m", "pip", "--version"]).returncode == 0


def test_without_a_network_the_message_says_so_and_what_to_look_at(tmp_path):
    enough_disk(tmp_path)
    pip = {name: "" for name in os.environ if name.startswith("PIP_")}
    pip.update(PIP_INDEX_URL="http://127.0.0.1:9/none", PIP_RETRIES="1", PIP_NO_CACHE_DIR="1")
    env = dict(pip, PIP_CONFIG_FILE=os.devnull, XDG_CACHE_HOME=str(tmp_path), MMCV_FIND_LINKS="x")
    code, output = run_install(tmp_path, **env)
    assert code == 1
    assert "the package index cannot be reached: check the network, HTTPS_PROXY" in output
    assert not (tmp_path / "venv/installed").exists()


def test_the_stamp_is_stale_once_a_pin_a_script_or_the_folder_changes(tmp_path, monkeypatch):
    names = "requirements.txt setup.py tools/install.py tools/install_mmcv.py".split()
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").touch()
    assert not install.is_current(venv)
    (venv / "installed").write_text(install.stamp_of(venv))
    assert install.is_current(venv)
    for name in names:
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(before + "# changed\n")
        assert not install.is_current(venv), name
        (tmp_path / name).write_text(before)
    shutil.copytree(venv, tmp_path / "moved")
    assert install.is_current(venv) and not install.is_current(tmp_path / "moved")


def test_an_upstream_distribution_beside_the_forks_is_reported(tmp_path, monkeypatch):
    assert not [p for p in install.upstream_problems() if "mmdet 3.3.0" in p]
    info = tmp_path / "mmdet-3.3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mmdet\nVersion: 3.3.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert any(
        "mmdet 3.3.0 must not be installed beside the onedl-* forks" in problem
        and "pip uninstall -y mmdet" in problem
        for problem in install.upstream_problems()
    )


def test_every_pin_is_exact_and_names_what_the_build_needs():
    lines = [ln.split("#")[0].strip() for ln in (ROOT / "requirements.txt").read_text().split("\n")]
    pins = install.read_pins()
    assert all("==" in line for line in lines if line)
    assert len(pins) == len([line for line in lines if line])
    assert set(install.BUILD_NEEDS) <= set(pins)
    assert not set(install.UPSTREAM) & set(pins)
