"""tools/install_mmcv.py: what a build needs, and that no unusable wheel is kept or used."""

import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import install  # noqa: E402
import install_mmcv  # noqa: E402
from install_mmcv import InstallError  # noqa: E402

PIN = "onedl-mmcv==" + install.read_pins()["onedl-mmcv"]


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with nothing on the PATH and an empty cache."""
    for name in ("CXX", "CUDA_HOME", "FORCE_CUDA", "MMCV_FIND_LINKS", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(install_mmcv, "USUAL_CUDA", str(tmp_path / "no_cuda"))
    return tmp_path


def script(path, text):
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def test_a_compiler_that_cannot_compile_is_quoted(bare):
    script(bare / "bin/c++", "echo 'fatal error: Python.h: No such file' >&2; exit 1\n")
    with pytest.raises(InstallError, match=r"'c\+\+' must compile .* got 'fatal error: Python.h"):
        install_mmcv.check_compiler()


def test_the_compiler_named_by_cxx_is_the_one_that_is_checked(bare, monkeypatch):
    monkeypatch.setenv("CXX", "my-compiler")
    with pytest.raises(InstallError, match="got no 'my-compiler'"):
        install_mmcv.check_compiler()


def test_a_gpu_machine_without_nvcc_is_told_the_three_ways_out(bare):
    script(bare / "bin/nvidia-smi", "echo 'GPU 0: some card'\n")
    assert install_mmcv.sees_gpu()
    with pytest.raises(InstallError, match="nvcc in CUDA_HOME or on the PATH, got none") as error:
        install_mmcv.find_cuda("13.0")
    for way in ("CUDA_HOME", "MMCV_FIND_LINKS", "FORCE_CUDA=0"):
        assert way in str(error.value)


def test_an_nvcc_of_another_major_release_than_torch_is_refused(bare, monkeypatch):
    script(bare / "cuda/bin/nvcc", "echo 'Cuda compilation tools, release 11.8, V11.8.89'\n")
    (bare / "cuda/include").mkdir()
    (bare / "cuda/include/cuda_runtime.h").touch()
    monkeypatch.setenv("CUDA_HOME", str(bare / "cuda"))
    with pytest.raises(InstallError, match=r"must be CUDA 13\.x .* built with 13\.0, got 11\.8"):
        install_mmcv.find_cuda("13.0")
    assert install_mmcv.find_cuda("11.8") == bare / "cuda"


def test_force_cuda_overrules_what_nvidia_smi_says(bare, monkeypatch):
    monkeypatch.setenv("FORCE_CUDA", "1")
    assert install_mmcv.sees_gpu()
    script(bare / "bin/nvidia-smi", "echo 'GPU 0: some card'\n")
    monkeypatch.setenv("FORCE_CUDA", "0")
    assert not install_mmcv.sees_gpu()


def test_too_little_disk_names_the_folder_the_need_and_what_is_there(tmp_path):
    with pytest.raises(InstallError, match=r"the test needs 1e\+07 GB free in .*, got [\d.]+ GB"):
        install_mmcv.check_disk(tmp_path / "not/yet/there", 1e7, "the test")


@pytest.mark.parametrize(
    "said, advice",
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full: free 12 GB"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "set MAX_JOBS=1"),
        ("ERROR: No matching distribution found for torch", "has no build for this machine"),
        ("something new", "read "),
    ],
)
def test_a_failing_step_quotes_the_end_of_its_log_and_advises(tmp_path, said, advice):
    failing = script(tmp_path / "step", f"echo '{said}'; exit 3\n")
    with pytest.raises(InstallError) as error:
        install_mmcv.run("the step", [str(failing)], tmp_path / "log")
    assert "'the step' failed (exit 3): " in str(error.value)
    assert advice in str(error.value) and said in str(error.value)


def test_a_long_step_shows_that_it_is_alive_and_how_far_it_is(tmp_path, capsys):
    slow = script(tmp_path / "step", "echo '[41/138] c++ ...'; sleep 0.7\n")
    install_mmcv.run("the step", [str(slow)], tmp_path / "log", every=0.3)
    assert "still at it, 0 s, file 41/138" in capsys.readouterr().out


def stand_in_wheel(path, ops=b"not a library"):
    """Write a whole zip with the shape of mmcv's wheel."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mmcv/__init__.py", "x = 1\n" * 1000)
        if ops is not None:
            archive.writestr("mmcv/_ext.cpython-311-x86_64-linux-gnu.so", ops)
    return path


@pytest.fixture(scope="module")
def facts():
    pytest.importorskip("torch")
    return install_mmcv.torch_facts(sys.executable)


def test_a_truncated_a_damaged_and_an_opless_wheel_are_told_apart(tmp_path, facts):
    whole = stand_in_wheel(tmp_path / "whole.whl")
    data = whole.read_bytes()
    (tmp_path / "cut.whl").write_bytes(data[: len(data) // 2])
    (tmp_path / "bits.whl").write_bytes(data[:2000] + bytes([data[2000] ^ 255]) + data[2001:])
    expected = {
        "cut.whl": "cannot be read",
        "bits.whl": "mmcv/__init__.py in it is damaged",
        "absent.whl": "cannot be read",
        "whole.whl": "its ops do not run",
        stand_in_wheel(tmp_path / "lite.whl", ops=None).name: "no compiled ops",
    }
    for name, problem in expected.items():
        found = install_mmcv.wheel_problem(tmp_path / name, sys.executable, facts)
        assert problem in found, name


def test_a_corrupt_cached_wheel_is_replaced_by_a_whole_one(tmp_path, monkeypatch, facts, capsys):
    log = tmp_path / "log"
    kept = [p for p in install_mmcv.cache_dir().glob(f"*{facts['torch']}-{facts['build']}-*/*.whl")]
    kept = [p for p in kept if facts["python"] in p.parent.name]
    if not kept:
        pytest.skip("this user's cache holds no mmcv wheel for this environment: make install")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "robustnet_mm" / kept[0].parent.name / kept[0].name
    (cached.parent / "tmp_of_a_killed_build").mkdir(parents=True)
    cached.write_bytes(kept[0].read_bytes()[:100000])
    monkeypatch.setenv("MMCV_FIND_LINKS", str(kept[0].parent))
    assert install_mmcv.get_wheel(sys.executable, PIN, log) == cached
    assert "is thrown away: it cannot be read" in capsys.readouterr().out
    assert cached.read_bytes() == kept[0].read_bytes()
    monkeypatch.setenv("MMCV_FIND_LINKS", "/nonexistent")
    assert install_mmcv.get_wheel(sys.executable, PIN, log) == cached
    assert "comes from the cache" in capsys.readouterr().out
    assert [p.name for p in cached.parent.iterdir()] == [cached.name]


def test_a_build_that_fails_leaves_nothing_in_the_cache(bare, monkeypatch, facts):
    monkeypatch.setenv("MMCV_FIND_LINKS", str(bare / "bin"))  # a folder without wheels
    with pytest.raises(InstallError, match="got no 'c++'".replace("+", r"\+")):
        install_mmcv.get_wheel(sys.executable, PIN, bare / "log")
    assert not [p for p in (bare / "cache").rglob("*") if p.is_file() and p.suffix != ".lock"]
    (folder,) = [p for p in (bare / "cache/robustnet_mm").iterdir() if p.is_dir()]
    assert facts["python"] in folder.name and facts["torch"] in folder.name


def test_parallel_installs_take_turns(bare, capsys):
    code = "import install_mmcv, time\nwith install_mmcv.locked('k'):"
    code += " print('held', flush=True); time.sleep(1)"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT / "tools", stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    begin = time.monotonic()
    with install_mmcv.locked("k"):
        waited = time.monotonic() - begin
    assert holder.wait() == 0
    assert waited > 0.5 and "waiting for another install" in capsys.readouterr().out
