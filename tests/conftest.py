"""Shared by all tests: one thread, fixed seeds, and where the real check data may lie."""

import http.server
import json
import logging
import os
import random
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from robustnet_mm.weights import downloads

torch.set_num_threads(1)
# whose tests share what takes long to make: one process runs such a file, others go test by test
TOGETHER = "bad_input configs digit_scenes look monitor own_data plugin study tools views".split()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """How `-n` hands out the tests, where no other `--dist` is asked for."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            stem = Path(nodeid.partition("::")[0]).stem
            return stem if stem.removeprefix("test_") in TOGETHER else nodeid

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _alone():
    """Fixed seeds; what a test leaves in mmengine's globals and the environment is taken back."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    managers = (DefaultScope, MMLogger, MessageHub, Visualizer)
    kept = [manager._instance_dict.copy() for manager in managers]
    environment = dict(os.environ)
    yield
    for manager, instances in zip(managers, kept, strict=True):
        manager._instance_dict.clear()
        manager._instance_dict.update(instances)
    os.environ.clear()
    os.environ.update(environment)


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
def own_data(tmp_path_factory) -> Path:
    """What configs/own_data read when they are read: categories of annotations, and folders."""
    folder = tmp_path_factory.mktemp("own")
    for name in (*(f"{split}/{k}" for split in ("train", "val") for k in range(3)), "annotations"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.jpg").touch()  # a class has images
    categories = [dict(id=7 * k, name=str(k)) for k in range(3)]
    content = json.dumps(dict(images=[], annotations=[], categories=categories))
    for split in ("train", "val"):
        (folder / f"annotations/instances_{split}.json").write_text(content)
    (folder / "classes.txt").write_text("0\n1\n2\n")
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real photographs and weights: $ROBUSTNET_CHECK_DATA, or ../shared/data."""
    folder = Path(os.environ.get("ROBUSTNET_CHECK_DATA", ROOT.parent / "shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real check data in {folder} (set ROBUSTNET_CHECK_DATA)")
    return folder


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


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
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)  # read once, by processes that start now
    download = downloads.hf_hub_download
    monkeypatch.setattr(
        downloads, "hf_hub_download", lambda *a, **k: download(*a, **k, endpoint=address)
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield tmp_path / "remote", requests
    server.shutdown()
