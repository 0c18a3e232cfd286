"""The wheel of mmcv with its compiled ops: found in the cache, found prebuilt, or built once.

The ops are compiled against one torch, so a wheel is kept in $XDG_CACHE_HOME/robustnet_mm
(~/.cache/robustnet_mm) under a key of python, torch and CUDA, and no wheel is used before its ops
have run. Standard library only; plain annotations, so that an old Python reaches the message about
itself in `install.py`.
"""

import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path

START = time.time()
USUAL_CUDA = "/usr/local/cuda"
CUDA_ADVICE = (
    "install the CUDA toolkit (nvcc and headers) and set CUDA_HOME to it, or set MMCV_FIND_LINKS "
    "to a folder or URL with a prebuilt wheel, or set FORCE_CUDA=0 for ops that run on CPU only"
)
FAILURES = (  # what pip or the compiler says -> what the user can do
    (
        r"No space left on device|Errno 28",
        "the disk is full: free 12 GB, or point TMPDIR and XDG_CACHE_HOME to a larger one",
    ),
    (
        r"NewConnectionError|NameResolutionError|name resolution|Name or service not known"
        r"|Network is unreachable|Connection refused|ProxyError|ConnectTimeout|Read timed out",
        "the package index cannot be reached: check the network, HTTPS_PROXY and `pip config list`",
    ),
    (r"CERTIFICATE_VERIFY_FAILED", "the index's certificate is refused: check PIP_CERT and proxy"),
    (r"\bKilled\b|Cannot allocate memory", "the machine ran out of memory: set MAX_JOBS=1"),
    (
        r"No matching distribution",
        "the package index cannot be reached or has no build for this machine: check `pip config "
        "list`; the pins are for Python 3.10 to 3.12 on Linux",
    ),
)
FACTS = """
import json, sys, torch
gpu = torch.cuda.is_available()
arch = "%d.%d" % torch.cuda.get_device_capability() if gpu else ""
print(json.dumps(dict(torch=torch.__version__, cuda=torch.version.cuda or "", gpu=gpu, arch=arch,
                      python="cp%d%d" % sys.version_info[:2])))
"""
TRY_OPS = """
import sys, torch
from importlib import util
spec = util.spec_from_file_location("_ext", sys.argv[1])
ext = util.module_from_spec(spec)
spec.loader.exec_module(ext)
boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30.0]], device=sys.argv[2])
keep = ext.nms(boxes, boxes.new_tensor([0.9, 0.8, 0.7]), iou_threshold=0.5, offset=0)
sys.exit(None if keep.tolist() == [0, 2] else "nms gave %s, not [0, 2]" % keep.tolist())
"""


class InstallError(Exception):
    """Something the user can mend; the message says what was found, what is allowed, what to do."""


def say(text: str) -> None:
    """Print one progress line with the seconds since the start."""
    print(f"[{time.time() - START:4.0f} s] {text}", flush=True)


def cache_dir() -> Path:
    """Return the folder that keeps built wheels and locks."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robustnet_mm"


@contextlib.contextmanager
def locked(name: str):
    """Hold a lock file of the cache, so that parallel installs take turns."""
    path = cache_dir() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another install, which holds {path}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(what: str, command: list, log: Path, env: dict = None, every: int = 30) -> None:
    """Run `command` into `log`, with a sign of life every `every` seconds; explain a failure."""
    say(what)
    begin = time.time()
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env
        )
    while True:
        try:
            code = process.wait(timeout=every)
            break
        except subprocess.TimeoutExpired:
            done = re.findall(r"^\s*\[(\d+/\d+)\]", log.read_text(errors="replace"), re.MULTILINE)
            say(f"  still at it, {time.time() - begin:.0f} s{', file '.join(['', *done[-1:]])}")
    if code:
        text = log.read_text(errors="replace")
        tail = "\n".join("    " + line[:200] for line in text.strip().splitlines()[-8:])
        known = [advice for pattern, advice in FAILURES if re.search(pattern, text)]
        advice = known[0] if known else f"read {log}"
        raise InstallError(f"'{what}' failed (exit {code}): {advice}; then run this again\n{tail}")


def check_disk(path: Path, need_gb: float, what: str) -> None:
    """Raise InstallError unless the file system of `path` has `need_gb` GB left."""
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(str(path)).free / 1e9
    if free < need_gb:
        raise InstallError(
            f"{what} needs {need_gb:g} GB free in {path}, got {free:.1f} GB; free some, or use a "
            "larger disk (VENV=, TMPDIR and XDG_CACHE_HOME choose the folders)"
        )


def check_compiler() -> None:
    """Raise InstallError unless a C++17 compiler finds its own and Python's headers."""
    name = os.environ.get("CXX", "c++")
    advice = (
        "mmcv's ops are compiled once: install one with Python's headers (Debian, Ubuntu: apt-get "
        "install g++ python3-dev), or set MMCV_FIND_LINKS to a folder or URL with a prebuilt wheel"
    )
    if not shutil.which(name):
        raise InstallError(f"a C++17 compiler must be on the PATH, got no '{name}'; {advice}")
    flags = ["-x", "c++", "-std=c++17", "-fsyntax-only", "-I" + sysconfig.get_paths()["include"]]
    source = "#include <Python.h>\n#include <vector>\n"
    done = subprocess.run([name, *flags, "-"], input=source, capture_output=True, text=True)
    if done.returncode:
        first = (done.stderr.strip() or "no message").splitlines()[0]
        raise InstallError(f"'{name}' must compile C++17 with Python.h, got '{first}'; {advice}")


def find_cuda(release: str = "") -> Path:
    """Return the folder of a CUDA toolkit of torch's CUDA `release`; explain if none fits."""
    nvcc = shutil.which("nvcc")
    homes = [os.environ.get("CUDA_HOME"), nvcc and Path(nvcc).resolve().parents[1]]
    for home in [Path(h) for h in [*homes, USUAL_CUDA] if h]:
        if (home / "bin/nvcc").exists() and (home / "include/cuda_runtime.h").exists():
            break
    else:
        raise InstallError(
            f"a GPU build needs nvcc in CUDA_HOME or on the PATH, got none; {CUDA_ADVICE}"
        )
    done = subprocess.run([str(home / "bin/nvcc"), "--version"], capture_output=True, text=True)
    found = re.search(r"release (\d+)\.(\d+)", done.stdout)
    if release and found and found[1] != release.split(".")[0]:
        raise InstallError(
            f"nvcc must be CUDA {release.split('.')[0]}.x as torch was built with {release}, got "
            f"{found[1]}.{found[2]} ({home}); {CUDA_ADVICE}"
        )
    return home


def sees_gpu() -> bool:
    """Tell whether ops are to be built for a GPU: FORCE_CUDA, else what nvidia-smi lists."""
    if os.environ.get("FORCE_CUDA", "") in ("0", "1"):
        return os.environ["FORCE_CUDA"] == "1"
    smi = shutil.which("nvidia-smi")
    return bool(smi) and b"GPU" in subprocess.run([smi, "-L"], stdout=subprocess.PIPE).stdout


def torch_facts(python: str) -> dict:
    """Ask the environment's torch what a wheel must fit; `build` is the wheel's device tag."""
    done = subprocess.run([python, "-c", FACTS], capture_output=True, text=True)
    if done.returncode:
        raise InstallError(
            f"torch must import, got '{done.stderr.strip()[-300:]}'; remove the environment"
        )
    facts = json.loads(done.stdout.splitlines()[-1])
    facts["build"] = "cpu"
    if sees_gpu():
        if not facts["gpu"] and os.environ.get("FORCE_CUDA") != "1":
            say("nvidia-smi lists a GPU that torch cannot use (driver too old?): building CPU ops")
        else:
            arch = os.environ.get("TORCH_CUDA_ARCH_LIST") or facts["arch"] or "default"
            facts["build"] = "cuda" + re.sub(r"[^\w.+]+", "_", arch)
    return facts


def wheel_problem(wheel: Path, python: str, facts: dict) -> str:
    """Return why `wheel` is unusable ('' where it is fine): whole, with ops, and they run."""
    try:
        with zipfile.ZipFile(str(wheel)) as archive, tempfile.TemporaryDirectory() as folder:
            damaged = archive.testzip()
            if damaged:
                return f"{damaged} in it is damaged"
            ops = [n for n in archive.namelist() if re.fullmatch(r"mmcv/_ext\..*so", n)]
            if not ops:
                return "it holds no compiled ops"
            device = "cuda" if facts["gpu"] and facts["build"] != "cpu" else "cpu"
            command = [python, "-c", TRY_OPS, archive.extract(ops[0], folder), device]
            done = subprocess.run(command, capture_output=True, text=True)
    except (OSError, zipfile.BadZipFile) as error:
        return f"it cannot be read ({error})"
    lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
    return f"its ops do not run ({lines[-1]})" if done.returncode else ""


def build_env(python: str, facts: dict) -> dict:
    """Return the environment variables of a build with ops."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    jobs = max(1, min(len(os.sched_getaffinity(0)), int(memory_gb / 2)))
    env = dict(os.environ, MMCV_WITH_OPS="1", MAX_JOBS=os.environ.get("MAX_JOBS") or str(jobs))
    env["PATH"] = os.pathsep.join([str(Path(python).parent), env.get("PATH", "")])  # ninja
    if facts["build"] == "cpu":
        return dict(env, FORCE_CUDA="0", CUDA_VISIBLE_DEVICES="")
    home = find_cuda(facts["cuda"])
    headers = Path(python).parents[1].glob("lib/python*/site-packages/nvidia/*/include")
    env.update(FORCE_CUDA="1", CUDA_HOME=str(home))  # torch's wheels carry cublas.h and its kin
    env["CPATH"] = os.pathsep.join([*map(str, headers), env.get("CPATH", "")]).strip(os.pathsep)
    if facts["arch"]:
        env.setdefault("TORCH_CUDA_ARCH_LIST", facts["arch"])
    return env


def make_wheel(folder: Path, python: str, facts: dict, pin: str, log: Path) -> Path:
    """Return an mmcv wheel in `folder`: a prebuilt one that fits, else built from source."""
    pip, links = [python, "-m", "pip"], os.environ.get("MMCV_FIND_LINKS")
    if links:
        only = ["--no-deps", "--no-index", "--only-binary=:all:", "--find-links", links]
        with contextlib.suppress(InstallError):
            run(f"looking for {pin} in {links}", [*pip, "download", *only, "-d", folder, pin], log)
        for wheel in folder.glob("*.whl"):
            problem = wheel_problem(wheel, python, facts)
            if not problem:
                return wheel
            wheel.unlink()
            say(f"the prebuilt {wheel.name} is not used: {problem}")
        say(f"no wheel in MMCV_FIND_LINKS={links} fits {facts['python']}, torch {facts['torch']}")
    check_compiler()
    check_disk(folder, 2, "building mmcv")
    env = build_env(python, facts)
    what = (
        f"building {pin} ({facts['build']}, MAX_JOBS={env['MAX_JOBS']}); 7 minutes on 2 idle cores"
    )
    options = ["-v", "--no-deps", "--no-build-isolation", "--no-cache-dir", "-w", str(folder)]
    run(what, [*pip, "wheel", *options, pin], log, env)
    (wheel,) = folder.glob("*.whl")
    problem = wheel_problem(wheel, python, facts)
    if problem:
        raise InstallError(f"the wheel just built is unusable: {problem}; read {log}")
    return wheel


def get_wheel(python: str, pin: str, log: Path) -> Path:
    """Return the cached mmcv wheel that fits this environment; make it where there is none."""
    facts = torch_facts(python)
    version, machine = pin.split("==")[1], platform.machine()
    key = f"mmcv-{version}-{facts['python']}-torch{facts['torch']}-{facts['build']}-{machine}"
    folder = cache_dir() / key
    with locked(key):
        folder.mkdir(exist_ok=True)
        for left in (path for path in folder.iterdir() if path.is_dir()):
            shutil.rmtree(str(left))  # of a build that was killed
        for wheel in sorted(folder.glob("*.whl")):
            problem = wheel_problem(wheel, python, facts)
            if not problem:
                say(f"mmcv's wheel comes from the cache: {wheel}")
                return wheel
            say(f"the cached {wheel} is thrown away: {problem}")
            wheel.unlink()
        with tempfile.TemporaryDirectory(dir=str(folder)) as temporary:
            wheel = make_wheel(Path(temporary), python, facts, pin, log)
            os.replace(str(wheel), str(folder / wheel.name))  # whole or not at all
        return folder / wheel.name
