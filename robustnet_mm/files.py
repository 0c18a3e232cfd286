"""Files that several processes share, and files that are written whole or not at all."""

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock on a file, which is made if it is not there, and is left there.

    The system takes the lock from a process that ends, however it ends, and child processes do not
    inherit it. Where a file system has no locks, none is held. A process that holds it must not
    open the file another time: closing that one gives the lock back.

    Args:
        path: The file, in the work directory that it guards.
        what: Runs there while it is held: 'training'.

    Raises:
        ValueError: Another process has the lock; says which.
        OSError: The file cannot be made.
    """
    with open(path, "a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:  # what a held lock is depends on both
            file.seek(0)
            raise ValueError(
                f"another {what} runs in work_dir {path.parent} ({file.read().strip()}): wait for "
                "its end, or name another folder by --work-dir"
            ) from error
        except OSError:
            pass
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


class WholeFileBackend(LocalBackend):
    """Local files that are written whole or not at all: `backend_args=dict(backend='whole')`."""

    def put(self, obj: bytes | memoryview, filepath: str | Path):
        """Write beside the target, flush to disk, then rename."""
        target = Path(os.path.realpath(filepath))  # a link stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8"):
        """Text likewise: mmengine's `dump` writes JSON and YAML by this."""
        self.put(obj.encode(encoding), filepath)


def sweep(folder: Path) -> None:
    """Remove what killed processes were writing into a folder; to be called under its lock.

    Only checkpoints are: below the folder other trainings may live, and beside them users' files.
    """
    for path in folder.glob(".*.pth.*.part"):
        if re.fullmatch(r"\..+\.pth\.\d+\.part", path.name) and path.is_file():
            path.unlink(missing_ok=True)


register_backend("whole", WholeFileBackend, force=True)
