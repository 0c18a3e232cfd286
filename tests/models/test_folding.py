import pytest
import torch
from helpers import close, depth_of, open_exchanges
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustnet_mm.models import RobustNet, fold_batchnorm

CNNS = {
    "nano": None,
    "resnet50": ("robustnet_mm.ConvTower", "arch"),
    "mobilenetv2_050": ("robustnet_mm.TimmCNNTower", "model_name"),
    "mobilenetv3_small_050": ("robustnet_mm.TimmCNNTower", "model_name"),
    "efficientnetv2_rw_t": ("robustnet_mm.TimmCNNTower", "model_name"),
    "regnety_002": ("robustnet_mm.TimmCNNTower", "model_name"),
    "resnet26t": ("robustnet_mm.TimmCNNTower", "model_name"),
    "resnetv2_50d_evos": ("robustnet_mm.TimmCNNTower", "model_name"),  # has no BatchNorm
    "starnet_s050": ("robustnet_mm.TimmCNNTower", "model_name"),  # whose blocks are bare layers
    "convnext_atto": ("robustnet_mm.TimmCNNTower", "model_name"),  # has none either
}


def network(name):
    cnn = CNNS[name] and dict(type=CNNS[name][0], **{CNNS[name][1]: name})
    net = open_exchanges(RobustNet("nano", cnn=cnn, weave=[(0, 0), (2, 1)], form="gated")).train()
    for norm in (m for m in net.modules() if isinstance(m, _BatchNorm)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        norm.momentum = 0.5
    with torch.no_grad():
        net(torch.randn(2, 3, 96, 96))  # statistics that are not those of the start
    return net.eval()


@pytest.mark.parametrize("name", CNNS)
def test_a_folded_network_has_no_batchnorm_and_computes_the_same(name):
    net, images = network(name), torch.randn(1, 3, 70, 101)
    depth = depth_of(net)
    with torch.no_grad():
        expected = net(images)
        out = fold_batchnorm(net)(images)
    left = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert not left or name == "starnet_s050"  # has some that follow none
    pairs = zip((*out.maps, out.tokens), (*expected.maps, expected.tokens), strict=True)
    for a, b in pairs:
        close(a, b, depth)


def test_a_batchnorm_that_does_not_follow_a_convolution_stays():
    conv, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    shared = nn.Sequential(conv, norm, nn.Conv2d(4, 3, 1), conv, nn.ReLU(), nn.BatchNorm2d(4))
    images = torch.randn(1, 3, 8, 8)
    expected = shared.eval()(images)
    close(fold_batchnorm(shared)(images), expected, shared)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in shared) == 2


def test_an_activation_in_place_between_convolution_and_batchnorm_is_seen():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(4)).eval()
    nn.init.normal_(net[2].bias)
    images = torch.randn(1, 3, 8, 8)
    expected = net(images)
    close(fold_batchnorm(net)(images), expected, net)


def test_folding_twice_is_folding_once():
    net = network("nano")
    assert fold_batchnorm(fold_batchnorm(net)) is net


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match="is for inference: call model.eval()"):
        fold_batchnorm(RobustNet("nano"))
