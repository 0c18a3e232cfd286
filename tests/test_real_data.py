"""Real photographs and real weights, where they are at hand (see conftest.py)."""

import cv2
import numpy as np
import pytest
import timm
import torch

from robustnet_mm.models import RobustNet, TwoTowerHead

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def photographs(folder, batch=20):
    """Centre crops of 224 pixels, normalised, with labels: ((N, 3, 224, 224), (N,)) batches."""
    rows = [line.split() for line in (folder / "labels.txt").read_text().splitlines()]
    for start in range(0, len(rows), batch):
        images, labels = [], []
        for name, label in rows[start : start + batch]:
            image = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
            top, left = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
            image = (image[top : top + 224, left : left + 224] - np.array(MEAN)) / STD
            images.append(torch.from_numpy(image).float().permute(2, 0, 1))
            labels.append(int(label))
        yield torch.stack(images), torch.tensor(labels)


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
    assert len(net.exchanges) > 0 and hits == 163  # 81.5 % of 200
