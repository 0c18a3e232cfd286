import os
import subprocess
import sys

import pytest
from mmengine.fileio import dump, get_file_backend

from robustnet_mm.files import WholeFileBackend


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """A process killed in the middle of writing leaves the old file as it was."""
    target = tmp_path / "epoch_1.pth"
    WholeFileBackend().put(b"old", target)
    code = (
        "import os, sys; from robustnet_mm import files; "
        "files.os.fsync = lambda fd: os.kill(os.getpid(), 9); "
        "files.WholeFileBackend().put(b'new' * 9999, sys.argv[1])"
    )
    process = subprocess.run([sys.executable, "-c", code, str(target)])
    assert process.returncode == -9 and target.read_bytes() == b"old"
    get_file_backend(target, backend_args=dict(backend="whole")).put(b"new", target)
    assert target.read_bytes() == b"new"


def test_text_too_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """mmengine's `dump` writes JSON as text."""
    target, whole = tmp_path / "a.json", dict(backend="whole")
    dump(dict(a=1), target, backend_args=whole)
    assert target.read_text() == '{"a": 1}'

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        dump(dict(b=2), target, backend_args=whole)
    assert target.read_text() == '{"a": 1}' and list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_no_part_behind(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        WholeFileBackend().put(b"new", tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())
