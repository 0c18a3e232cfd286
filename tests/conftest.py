"""Shared by all tests: one thread, fixed seeds, and where the real check data may lie."""

import http.server
import logging
import os
import threading
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger

from robustnet_mm import weight_files
from robustnet_mm.models import ConvTower

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)


def waken(tower):
    """Undo the zeros of a fresh CNN's residual blocks, which would hide what happens inside."""
    for block in tower.blocks if isinstance(tower, ConvTower) else ():
        torch.nn.init.constant_(block.last_norm.weight, 0.5)
    return tower


def open_gates(net):
    """A woven network whose towers tell each other something."""
    for name, parameter in net.named_parameters():
        if name.endswith("gate.scale"):
            torch.nn.init.constant_(parameter, 0.5)
    waken(net.cnn)
    return net


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def logged():
    """The messages that mmengine's current logger gets during the test."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real photographs and weights: $ROBUSTNET_CHECK_DATA, or ../shared/data."""
    folder = Path(os.environ.get("ROBUSTNET_CHECK_DATA", ROOT.parent / "shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real check data in {folder} (set ROBUSTNET_CHECK_DATA)")
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder served as the Hugging Face hub, and the requests that it got."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):  # noqa: N802, the name is the library's
            requests.append((self.command, self.path))
            path = tmp_path / "remote" / self.path.partition("/resolve/")[0].strip("/")
            if not path.is_file():
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.send_header("ETag", '"tag"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(path.read_bytes())

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)  # read once, by processes that start now
    download = weight_files.hf_hub_download
    monkeypatch.setattr(
        weight_files, "hf_hub_download", lambda *a, **k: download(*a, **k, endpoint=address)
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield tmp_path / "remote", requests
    server.shutdown()
