#!/usr/bin/env python3
"""Make a virtual environment with the pinned stack, mmcv's compiled ops included, and verify it.

    python3 tools/install.py [--venv .venv]        install; returns at once where it is up to date
    .venv/bin/python tools/install.py --check      verify the environment that runs this

Settings from the environment: MMCV_FIND_LINKS (folder or URL with prebuilt mmcv wheels), FORCE_CUDA
(1: CUDA ops though no GPU is seen, 0: CPU ops on a GPU machine), CUDA_HOME, TORCH_CUDA_ARCH_LIST,
CXX, MAX_JOBS, XDG_CACHE_HOME and TMPDIR.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from install_mmcv import (  # noqa: E402
    InstallError,
    cache_dir,
    check_compiler,
    check_disk,
    find_cuda,
    get_wheel,
    locked,
    run,
    say,
    sees_gpu,
)

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ((3, 10), (3, 12))
INSTALL_GB = 12  # 6 in the environment, the rest while pip unpacks and keeps its downloads
BUILD_NEEDS = "torch torchvision numpy setuptools wheel ninja packaging psutil".split()
UPSTREAM = "mmcv mmcv-full mmcv-lite mmengine mmdet mmpretrain mmcls mmsegmentation".split()
IMPORTS = "mmengine mmcv.ops mmdet mmpretrain modelindex timm pycocotools captum".split()
IMPORTS += "pytorch_grad_cam tensorboard robustnet_mm robustnet_mm.analysis".split()


def read_pins(path: Path = ROOT / "requirements.txt") -> dict:
    """Return {distribution: version} of the `name==version` lines."""
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", path.read_text(), re.MULTILINE))


def stamp_of(venv: Path) -> str:
    """Return the digest of all that decides what is installed in `venv`, and from where."""
    names = "requirements.txt setup.py tools/install.py tools/install_mmcv.py".split()
    parts = [(ROOT / name).read_bytes() for name in names]
    parts += [str(ROOT).encode(), str(venv).encode(), os.environ.get("FORCE_CUDA", "").encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_current(venv: Path) -> bool:
    """Tell whether `venv` was installed and verified with today's pins, from this folder."""
    stamp = venv / "installed"
    return (
        (venv / "bin/python").exists()
        and stamp.exists()
        and stamp.read_text().strip() == stamp_of(venv)
    )


def check_python(version: tuple, path: str) -> None:
    """Raise InstallError unless `version` is a supported Python."""
    if not PYTHONS[0] <= tuple(version[:2]) <= PYTHONS[1]:
        got = ".".join(map(str, version[:3]))
        raise InstallError(
            f"Python must be 3.10 to 3.12 (tested: 3.11), got {got} ({path}); "
            "install one and name it: make install PYTHON=python3.11"
        )


def check_machine(venv: Path) -> None:
    """Raise InstallError early for what would fail late: disk, and compilers where needed."""
    if not list(venv.glob("lib/python*/site-packages/torch")):
        check_disk(venv, INSTALL_GB, "the installation")
        check_disk(Path(tempfile.gettempdir()), 3, "unpacking the downloads")
    cached = list(cache_dir().glob(f"mmcv-*-cp{sys.version_info[0]}{sys.version_info[1]}-*/*.whl"))
    if not cached and not os.environ.get("MMCV_FIND_LINKS"):
        check_compiler()
        if sees_gpu():
            find_cuda()


def make_venv(venv: Path, log: Path) -> None:
    """Create `venv`, or keep the one that is there if its Python runs and is supported."""
    python = venv / "bin/python"
    if venv.exists():
        if not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
            raise InstallError(
                f"VENV must be a virtual environment or a new folder, got {venv}, which holds "
                "other things; name another: make install VENV=.venv"
            )
        code = "import sys, pip; print(*sys.version_info[:3])"
        try:
            found = subprocess.check_output([str(python), "-c", code], stderr=subprocess.DEVNULL)
            check_python(tuple(map(int, found.split())), str(python))
            return
        except (OSError, subprocess.CalledProcessError):
            say(f"{venv} has no Python with pip that runs: making it anew")
    try:
        run(f"making {venv}", [sys.executable, "-m", "venv", "--clear", str(venv)], log)
    except InstallError as error:
        if "ensurepip" in str(error):
            raise InstallError(
                "Python must have venv and ensurepip: apt-get install python3-venv"
            ) from None
        raise


def install(venv: Path) -> None:
    """Install the pinned stack into `venv`, verify it and write the stamp."""
    check_python(sys.version_info, sys.executable)
    check_machine(venv)
    log = cache_dir() / f"install-{hashlib.sha256(str(venv).encode()).hexdigest()[:8]}.log"
    make_venv(venv, log)
    (venv / "installed").unlink(missing_ok=True)
    python, pins = str(venv / "bin/python"), read_pins()
    pip = [python, "-m", "pip", "install", "--no-input"]
    needs = [f"{name}=={pins[name]}" for name in BUILD_NEEDS]
    run("upgrading pip", [*pip, f"pip=={pins['pip']}"], log)
    run("installing torch and the build tools (3 GB, a minute or more)", [*pip, *needs], log)
    wheel = get_wheel(python, f"onedl-mmcv=={pins['onedl-mmcv']}", log)
    exact = ["--no-deps", "--force-reinstall"]
    run("installing mmcv's wheel", [*pip, *exact, str(wheel)], log)
    run(
        "installing the rest of requirements.txt", [*pip, "-r", str(ROOT / "requirements.txt")], log
    )
    # both spellings of OpenCV own the same files: the last must be the one that needs no libGL
    opencv = f"opencv-python-headless=={pins['opencv-python-headless']}"
    run("putting headless OpenCV on top", [*pip, *exact, opencv], log)
    here = ["--no-build-isolation", "--no-deps", "-e", str(ROOT)]
    run("installing robustnet_mm (editable)", [*pip, *here], log)
    run("verifying: ops, imports, no upstream packages", [python, __file__, "--check"], log)
    (venv / "installed").write_text(stamp_of(venv) + "\n")
    say("installed and verified")


def upstream_problems() -> list:
    """Return a sentence for each upstream distribution, which shares its files with a fork."""
    from importlib.metadata import distributions

    found = {str(dist.metadata["Name"]).lower(): dist for dist in distributions()}
    return [
        f"{name} {found[name].version} must not be installed beside the onedl-* forks, whose files "
        f"it overwrites: pip uninstall -y {name}, remove .venv, make install"
        for name in UPSTREAM
        if name in found
    ]


def import_problems() -> list:
    """Return a sentence for each module of the stack that does not import."""
    problems = []
    for name in IMPORTS:
        try:
            import_module(name)
        except Exception as error:  # whatever an import raises is the finding
            what = f"{type(error).__name__}: {error}"
            problems.append(f"`import {name}` fails ({what}): remove .venv, make install")
    return problems


def op_problems() -> list:
    """Return what is wrong with mmcv's compiled ops on every device that torch sees."""
    import torch
    from mmcv.ops import nms, roi_align

    problems = []
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 3.9], [9, 9, 12, 12]], device=device)
        try:
            kept = nms(boxes, boxes.new_tensor([0.9, 0.8, 0.7]), 0.5)[1].tolist()
            feat = torch.arange(4.0, device=device).view(1, 1, 1, 4).expand(1, 1, 4, 4).contiguous()
            rois = boxes.new_tensor([[0, 0, 0, 4, 4]])
            pooled = roi_align(feat, rois, (2, 2), 1.0, 2, "avg", True).flatten().tolist()
        except Exception as error:  # a missing symbol, a missing kernel: all are findings
            problems.append(
                f"mmcv's ops do not run on {device} ({error}): remove .venv, make install"
            )
            continue
        if kept != [0, 2] or pooled != [0.5, 2.5, 0.5, 2.5]:
            problems.append(f"mmcv's ops are wrong on {device}: nms {kept}, roi_align {pooled}")
    return problems


def pin_notes() -> list:
    """Return one sentence for each distribution that is not the tested version."""
    from importlib.metadata import PackageNotFoundError, version

    notes = []
    for name, pin in read_pins().items():
        try:
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            found = "nothing"
        if found != pin:
            notes.append(f"note: tested with {name} {pin}, got {found}")
    return notes


def main(argv: list = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", default=str(ROOT / ".venv"), help="folder of the environment")
    parser.add_argument("--check", action="store_true", help="verify this environment only")
    args = parser.parse_args(argv)
    venv = Path(os.path.abspath(args.venv))
    try:
        if args.check:
            problems = upstream_problems() or import_problems() or op_problems()
            print("\n".join([*pin_notes(), *problems]) or "the tested set", flush=True)
            return 1 if problems else 0
        if is_current(venv):
            return 0
        check_python(sys.version_info, sys.executable)
        with locked("venv-" + hashlib.sha256(str(venv).encode()).hexdigest()[:8]):
            if not is_current(venv):
                install(venv)
    except InstallError as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"install: {error}; {venv} and {cache_dir()} must be writable and have room: choose "
            "others with VENV= and XDG_CACHE_HOME, then run this again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("install: interrupted; run this again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
