"""What the tool and the views are run on: generated images, and networks with open gates."""

import pytest
import torch
from helpers import CLASSIFIER, DETECTOR, ROOT, open_exchanges
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.datasets import make_digit_scenes


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "data"
    return make_digit_scenes(folder, scenes=(2, 2), crops=(10, 10))


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Config -> checkpoint with fresh weights and open gates."""
    found, folder = {}, tmp_path_factory.mktemp("weights")
    for config, scope in ((CLASSIFIER, "mmpretrain"), (DETECTOR, "mmdet")):
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(scope):
            model = MODELS.build(Config.fromfile(ROOT / config).model)
        open_exchanges(model.backbone)
        found[config] = folder / f"{scope}.pth"
        torch.save(dict(state_dict=model.state_dict()), found[config])
    return found
