"""What large images need of every network: no L x L matrix, no waiting, one graph, any shape."""

import random

import pytest
import torch
from helpers import FAMILIES, but_extended, close, open_exchanges
from torch.utils._python_dispatch import TorchDispatchMode

from robustnet_mm.models import RobustNet, ViTTower


class Shapes(TorchDispatchMode):
    """Records every shape that an operation gives."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(x, torch.Tensor):
                self.seen.setdefault(tuple(x.shape), func)
        return result


@pytest.mark.parametrize("window_size", [None, 7])
@pytest.mark.parametrize("name", [name for name in FAMILIES if "beit" not in name])
def test_attention_never_makes_a_matrix_of_all_pairs_of_tokens(name, window_size):
    """BEiT is left out: its bias is such a matrix by definition."""
    tower = ViTTower(name, FAMILIES[name][0], window_size=window_size).train()
    images = torch.randn(1, 3, 5 * tower.patch_size[0], 7 * tower.patch_size[1])
    with Shapes() as shapes:
        tower(images)[0].sum().backward()
    num_tokens = tower.num_prefix_tokens + (35 if window_size is None else 49)
    pairs = [s for s in shapes.seen if s[-2:] == (num_tokens, num_tokens)]
    assert not pairs and len(shapes.seen) > 20


NETWORKS = {
    "nano": dict(arch="nano"),
    "windows": dict(arch="nano", vit=dict(window_size=3, global_blocks=(3,))),
    "timm": dict(
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name="mobilenetv2_050"),
        vit=dict(
            type="robustnet_mm.ViTTower",
            model_name="vit_small_patch16_dinov3",
            model_args=dict(depth=3),
        ),
        weave=[(2, 1), (6, 2)],
    ),
}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_value_is_read_back_from_the_device(name, train):
    """On the meta device there are no values, so that reading one fails."""
    net = open_exchanges(RobustNet(**NETWORKS[name])).train(train).to("meta")
    with torch.set_grad_enabled(train):
        out = net(torch.empty(2, 3, 75, 101, device="meta"))
    assert out.tokens.shape[1] == net.vit.num_prefix_tokens + 5 * 7


@pytest.mark.parametrize(
    "name, train",
    [
        ("nano", True),
        ("timm", False),
        pytest.param("nano", False, marks=pytest.mark.extended),
        pytest.param("timm", True, marks=pytest.mark.extended),
        pytest.param("windows", False, marks=pytest.mark.extended),
        pytest.param("windows", True, marks=pytest.mark.extended),
    ],
)
def test_the_network_compiles_into_one_graph(name, train):
    torch._dynamo.reset()
    net, images = (
        open_exchanges(RobustNet(**NETWORKS[name])).train(train),
        torch.randn(2, 3, 80, 112),
    )
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager", dynamic=False)
    with torch.set_grad_enabled(train):
        out, expected = compiled(images), net(images)
    close(out.tokens, expected.tokens, net)
    close(out.maps, expected.maps, net)


def drawn(number):
    """A network and an image size, drawn: any side from one patch to 1400, any aspect ratio."""
    draw = random.Random(number)
    patch = draw.choice((8, 14, 16))
    names = {8: "vit_small_patch8_224", 14: "vit_small_patch14_reg4_dinov2"}
    vit = dict(window_size=draw.choice((None, None, 1, 3, 7, 14)))
    vit["model_name"] = names.get(patch, "deit_tiny_patch16_224")
    vit["model_args"] = dict(depth=4, embed_dim=48, num_heads=3)
    config = dict(arch="nano", vit=vit, weave=draw.choice(("paper", "even", [(0, 0), (6, 3)])))
    config["direction"] = draw.choice(("both", "both", "vit_to_cnn", "cnn_to_vit", "none"))
    cnn = draw.choice(("nano", "nano", "resnet18", "conformer_tiny"))
    config["cnn"] = dict(arch=cnn, channels_last=draw.random() < 0.3)
    return config, tuple(round(patch * (1400 / patch) ** draw.random()) for _ in "hw")


@pytest.mark.parametrize("number", but_extended(range(40), range(12, 40)))
def test_any_shape_gives_finite_maps_and_the_grid_that_the_image_implies(number):
    config, (height, width) = drawn(number)
    net = open_exchanges(RobustNet(**config)).eval()
    with torch.no_grad():
        out = net(torch.randn(1, 3, height, width))
    p = net.vit.patch_size[0]
    assert out.grid == (-(-height // p), -(-width // p))
    assert out.tokens.shape == (1, net.vit.num_prefix_tokens + out.grid[0] * out.grid[1], 48)
    for feat, channels, stride in zip(out.maps, net.out_channels, net.out_strides, strict=True):
        assert feat.shape == (1, channels, -(-height // stride), -(-width // stride))
        assert feat.isfinite().all() and feat.is_contiguous()
    assert out.tokens.isfinite().all()
