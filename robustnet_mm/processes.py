"""Processes of a run. It imports nothing but the standard library, for a quick start."""

import ctypes
import os
import signal
import sys


def die_with_parent():
    """Ask Linux to end the child when its parent is killed, so that no training runs on unseen.

    For `preexec_fn` of `subprocess`.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def is_first() -> bool:
    """Whether this is the first process of its run, before torch.distributed is set up as well."""
    names = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
    return int(next((os.environ[name] for name in names if name in os.environ), 0)) == 0
