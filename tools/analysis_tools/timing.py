"""What the benchmarks share: seconds round by round, the peak of a step, and how they are told."""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import torch


def seconds_of(step: Callable) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def in_rounds(steps: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in each round, all in turn; a round before them warms up."""
    found = {name: [] for name in steps}
    for number in range(1 + rounds):
        for name, step in steps.items():
            seconds = seconds_of(step)
            if number:
                found[name].append(seconds)
    return found


def summarise(times: dict[str, list[float]], base: str) -> dict[str, dict]:
    """Median, quartiles and the median of the ratios to the base within each round."""
    rows = {}
    for name, seconds in times.items():
        low, _, high = quantiles(seconds, n=4, method="inclusive")
        ratios = [a / b for a, b in zip(seconds, times[base], strict=True)]
        rows[name] = dict(median=median(seconds), low=low, high=high, ratio=median(ratios))
    return rows


def peak_of(step: Callable) -> tuple[float, float]:
    """MiB that a step needs beyond what is there before it, and those of the process (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status("VmRSS")
    step()
    return (_status("VmHWM") - before) / 2**10, _status("VmHWM") / 2**10


def in_a_process(*only: str, for_peak: bool = True) -> str:
    """What the same command prints as its last line when it is given `--only` and these.

    For a peak, memory that is freed goes back at once: otherwise glibc keeps it, and the peak is
    that of what came before. That takes time, so seconds are measured without.
    """
    command = [sys.executable, *sys.argv, "--only", *only]
    env = os.environ | ({"MALLOC_MMAP_THRESHOLD_": "65536"} if for_peak else {})
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    return done.stdout.splitlines()[-1]


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def describe_machine(args: argparse.Namespace) -> str:
    if args.device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{platform.machine()}, {args.threads} CPU thread(s), torch {torch.__version__}"
