"""Shared by all tests: one thread, fixed seeds, and where the real check data may lie."""

import logging
import os
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger

from robustnet_mm.models import ConvTower

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)


def waken(tower):
    """Undo the zeros of a fresh CNN's residual blocks, which would hide what happens inside."""
    for block in tower.blocks if isinstance(tower, ConvTower) else ():
        torch.nn.init.constant_(block.last_norm.weight, 0.5)
    return tower


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
