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


_RANKS = dict(pytorch="RANK", slurm="SLURM_PROCID", mpi="OMPI_COMM_WORLD_RANK")


def is_first(launcher: str | None = None) -> bool:
    """Whether this is the first process of its run, before torch.distributed is set up as well.

    Args:
        launcher: As the tools have it; 'none' is a run of one process, whatever started it. None:
            not known.
    """
    if launcher == "none":
        return True
    names = [_RANKS[launcher]] if launcher in _RANKS else _RANKS.values()
    return int(next((os.environ[name] for name in names if name in os.environ), 0)) == 0
