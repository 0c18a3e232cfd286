"""tools/install.py as a user runs it, on machines that lack something.

Each test changes the real environment (interpreter, PATH, cache folder, index), mocks nothing and
reads the real message.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import install  # noqa: E402
from install import InstallError  # noqa: E402


def run_install(folder, **env):
    """Run the installer as a user does; return (exit status, output)."""
    command = [sys.executable, str(ROOT / "tools/install.py"), "--venv", str(folder / "venv")]
    merged = {**os.environ, "TMPDIR": str(folder), **env}
    done = subprocess.run(command, capture_output=True, text=True, env=merged, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def enough_disk(folder):
    """Skip where the disk check would answer before the check under test."""
    if shutil.disk_usage(folder).free < install.INSTALL_GB * 1.1e9:
        pytest.skip(f"needs {install.INSTALL_GB} GB free in {folder}")


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 20), (3, 14, 0), (4, 0, 0)])
def test_a_python_outside_the_range_is_named_with_the_range_and_the_next_step(version):
    got = ".".join(map(str, version))
    with pytest.raises(
        InstallError, match=rf"3\.10 to 3\.13 .* got {got} \(/p\); .*PYTHON=python3"
    ):
        install.check_python(version, "/p")


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 11, 7), (3, 13, 0)])
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


@pytest.mark.parametrize("minor", [6, 8, 9, 14])
def test_a_real_unsupported_interpreter_gets_the_message_not_a_syntax_error(minor, tmp_path):
    for python in interpreters(minor)[:1] or pytest.skip(f"no Python 3.{minor} on this machine"):
        command = [python, ROOT / "tools/install.py", "--venv", tmp_path / "venv"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("install: Python must be 3.10 to 3.13")


def test_an_environment_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "venv").touch()  # a file in its place
    enough_disk(tmp_path)
    code, output = run_install(tmp_path)
    assert code == 1
    assert str(tmp_path / "venv") in output and "VENV=" in output


def test_too_little_disk_names_the_folder_the_need_and_what_is_there(tmp_path):
    with pytest.raises(InstallError, match=r"the test needs 1e\+07 GB free in .*, got [\d.]+ GB"):
        install.check_disk(tmp_path / "not/yet/there", 1e7, "the test")


@pytest.mark.parametrize(
    "said, advice",
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full: free 12 GB"),
        ("ERROR: No matching distribution found for torch", "has no build for this machine"),
        ("something new", "read "),
    ],
)
def test_a_failing_step_quotes_the_end_of_its_log_and_advises(tmp_path, said, advice):
    with pytest.raises(InstallError) as error:
        install.run("the step", ["sh", "-c", f"echo '{said}'; exit 3"], tmp_path / "log")
    assert "'the step' failed (exit 3): " in str(error.value)
    assert advice in str(error.value) and said in str(error.value)


def test_a_long_step_shows_that_it_is_alive(tmp_path, capsys):
    install.run("the step", ["sleep", "0.7"], tmp_path / "log", every=0.3)
    assert "still at it" in capsys.readouterr().out


def test_a_second_installation_waits_for_the_first(tmp_path, monkeypatch):
    venv = tmp_path / "venv"
    monkeypatch.setattr(install.tempfile, "tempdir", str(tmp_path))
    lock = tmp_path / f"robustnet_mm-{install.stamp_of(venv)[:8]}.lock"
    done = []
    monkeypatch.setattr(install, "install", lambda *args: done.append(args))
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=install.main, args=[["--venv", str(venv)]])
        second.start()
        second.join(0.3)
        assert second.is_alive() and not done
    second.join()
    assert len(done) == 1


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
    code, output = run_install(tmp_path, **dict(pip, PIP_CONFIG_FILE=os.devnull))
    assert code == 1
    assert "the package index cannot be reached: check the network, HTTPS_PROXY" in output
    assert not (tmp_path / "venv/installed").exists()


def test_the_stamp_is_stale_once_a_pin_a_script_or_the_folder_changes(tmp_path, monkeypatch):
    names = ("requirements.txt", "setup.py", "tools/install.py")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "__file__", str(tmp_path / "tools/install.py"))
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


def test_every_pin_is_exact_and_no_upstream_host_is_among_them():
    lines = [ln.split("#")[0].strip() for ln in (ROOT / "requirements.txt").read_text().split("\n")]
    pins = install.read_pins()
    assert all("==" in line for line in lines if line)
    assert len(pins) == len([line for line in lines if line])
    assert not set(install.UPSTREAM) & set(pins)
