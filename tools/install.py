#!/usr/bin/env python3
"""Make a virtual environment with the pinned packages and this one, and verify it.

    python3 tools/install.py [--venv .venv]        install; returns at once where it is up to date
    .venv/bin/python tools/install.py --check      verify the environment that runs this

Standard library only; plain annotations, so that an old Python reaches the message about itself.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START = time.time()
PYTHONS = ((3, 10), (3, 13))
INSTALL_GB = 12  # 6 in the environment, the rest while pip unpacks and keeps its downloads
UPSTREAM = "mmcv mmcv-full mmcv-lite mmengine mmdet mmpretrain mmcls mmsegmentation".split()
IMPORTS = "mmengine mmcv.ops mmdet mmpretrain modelindex timm pycocotools captum".split()
IMPORTS += "pytorch_grad_cam tensorboard".split()
IMPORTS += "robustnet_mm robustnet_mm.look robustnet_mm.studies".split()
FAILURES = (  # what pip says -> what the user can do
    (
        r"No space left on device|Errno 28",
        "the disk is full: free 12 GB, or point TMPDIR and PIP_CACHE_DIR to a larger one",
    ),
    (
        r"NewConnectionError|NameResolutionError|name resolution|Name or service not known"
        r"|Network is unreachable|Connection refused|ProxyError|ConnectTimeout|Read timed out",
        "the package index cannot be reached: check the network, HTTPS_PROXY and `pip config list`",
    ),
    (r"CERTIFICATE_VERIFY_FAILED", "the index's certificate is refused: check PIP_CERT and proxy"),
    (
        r"No matching distribution",
        "the package index cannot be reached or has no build for this machine: check `pip config "
        "list`; the pins are for Python 3.10 to 3.13 on Linux",
    ),
)


class InstallError(Exception):
    """Something the user can mend; the message says what was found, what is allowed, what to do."""


def say(text: str) -> None:
    """Print one progress line with the seconds since the start."""
    print(f"[{time.time() - START:4.0f} s] {text}", flush=True)


def read_pins(path: Path = ROOT / "requirements.txt") -> dict:
    """Return {distribution: version} of the `name==version` lines."""
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", path.read_text(), re.MULTILINE))


def stamp_of(venv: Path) -> str:
    """Return the digest of all that decides what is installed in `venv`, and from where."""
    parts = [(ROOT / name).read_bytes() for name in ("requirements.txt", "setup.py")]
    parts += [Path(__file__).read_bytes(), str(ROOT).encode(), str(venv).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_current(venv: Path) -> bool:
    """Tell whether `venv` was installed and verified with today's pins, from this folder."""
    stamp = venv / "installed"
    there = (venv / "bin/python").exists() and stamp.exists()
    return there and stamp.read_text().strip() == stamp_of(venv)


def check_python(version: tuple, path: str) -> None:
    """Raise InstallError unless `version` is a supported Python."""
    if not PYTHONS[0] <= tuple(version[:2]) <= PYTHONS[1]:
        got = ".".join(map(str, version[:3]))
        raise InstallError(
            f"Python must be 3.10 to 3.13 (tested: 3.11), got {got} ({path}); "
            "install one and name it: make install PYTHON=python3.11"
        )


def check_disk(path: Path, need_gb: float, what: str) -> None:
    """Raise InstallError unless the file system of `path` has `need_gb` GB left."""
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(str(path)).free / 1e9
    if free < need_gb:
        raise InstallError(
            f"{what} needs {need_gb:g} GB free in {path}, got {free:.1f} GB; free some, or use a "
            "larger disk (VENV=, TMPDIR and PIP_CACHE_DIR choose the folders)"
        )


def run(what: str, command: list, log: Path, every: int = 30) -> None:
    """Run `command` into `log`, with a sign of life every `every` seconds; explain a failure."""
    say(what)
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    while True:
        try:
            code = process.wait(timeout=every)
            break
        except subprocess.TimeoutExpired:
            say("  still at it")
    if code:
        text = log.read_text(errors="replace")
        tail = "\n".join("    " + line[:200] for line in text.strip().splitlines()[-8:])
        known = [advice for pattern, advice in FAILURES if re.search(pattern, text)]
        advice = known[0] if known else f"read {log}"
        raise InstallError(f"'{what}' failed (exit {code}): {advice}; then run this again\n{tail}")


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


def install(venv: Path, log: Path) -> None:
    """Install the pinned packages and this one into `venv`, verify it and write the stamp."""
    if not list(venv.glob("lib/python*/site-packages/torch")):
        check_disk(venv, INSTALL_GB, "the installation")
        check_disk(Path(tempfile.gettempdir()), 3, "unpacking the downloads")
    make_venv(venv, log)
    (venv / "installed").unlink(missing_ok=True)
    python, pins = str(venv / "bin/python"), read_pins()
    pip = [python, "-m", "pip", "install", "--no-input"]
    run("upgrading pip", [*pip, f"pip=={pins['pip']}"], log)
    requirements = [*pip, "-r", str(ROOT / "requirements.txt")]
    run("installing requirements.txt (3 GB, two minutes or more)", requirements, log)
    # both spellings of OpenCV own the same files: the last must be the one that needs no libGL
    opencv = f"opencv-python-headless=={pins['opencv-python-headless']}"
    run("headless OpenCV on top", [*pip, "--no-deps", "--force-reinstall", opencv], log)
    here = [*pip, "--no-build-isolation", "--no-deps", "-e", str(ROOT)]
    run("installing robustnet_mm (editable)", here, log)
    run("mmcv's operators", [python, "-m", "robustnet_mm.ops", "install"], log)
    run("verifying: operators, imports, no upstream packages", [python, __file__, "--check"], log)
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
    """Return what is wrong with mmcv's operators on every device that torch sees."""
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


def check() -> int:
    """Print what differs from the tested set, what is wrong, and mmcv's operators in use."""
    problems = upstream_problems() or import_problems() or op_problems()
    print("\n".join([*pin_notes(), *problems]) or "the tested set", flush=True)
    if not problems:
        print(import_module("robustnet_mm.ops.place").status()[1], flush=True)
    return 1 if problems else 0


def main(argv: list = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", default=str(ROOT / ".venv"), help="folder of the environment")
    parser.add_argument("--check", action="store_true", help="verify this environment only")
    args = parser.parse_args(argv)
    if args.check:
        return check()
    venv = Path(os.path.abspath(args.venv))
    log = Path(tempfile.gettempdir(), f"robustnet_mm-{stamp_of(venv)[:8]}.log")
    try:
        if is_current(venv):
            return 0
        check_python(sys.version_info, sys.executable)
        with log.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # `make test` and `make demo` at once take turns
            if not is_current(venv):
                install(venv, log)
    except InstallError as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"install: {error}; {venv} and {log.parent} must be writable and have room: choose "
            "others with VENV= and TMPDIR, then run this again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("install: interrupted; run this again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
