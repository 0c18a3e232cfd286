"""Real photographs and real weights, where they are at hand (see conftest.py)."""

import pytest
import timm
import torch
from helpers import photographs

from robustnet_mm.models import RobustNet, TwoTowerHead


@pytest.mark.extended  # test_model_converters.py: on the same photographs, with MobileNetV2
@pytest.mark.parametrize("cnn", ["resnet18", "conformer_tiny"])
def test_a_woven_deit_tiny_gives_its_own_logits_and_accuracy_on_photographs(real_data, cnn):
    path = real_data / "weights/deit_tiny_patch16_224.pth"
    theirs = timm.create_model("deit_tiny_patch16_224").eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    init = dict(type="robustnet_mm.PretrainedTower", checkpoint=str(path))
    net = RobustNet("tiny-patch16", cnn=dict(arch=cnn), vit=dict(init_cfg=init)).eval()
    width = net.out_channels[-1]
    vit = dict(in_channels=net.embed_dims, init_cfg=init)
    head = TwoTowerHead(1000, dict(in_channels=width), vit).eval()
    net.init_weights()
    head.init_weights()
    hits = 0
    with torch.no_grad():
        for images, labels in photographs(real_data / "imagenet_samples_200"):
            _, logits = head(net(images))
            assert torch.equal(logits, theirs(images))
            hits += (logits.argmax(1) == labels).sum().item()
    # 81.5 % of 200; rounding decides an image whose two best classes are equal but for it
    assert len(net.exchanges) > 0 and abs(hits - 163) <= 1
