"""VT-ResNet: the published sizes, the weights that it takes, and any image."""

import pytest
import timm
import torch
from helpers import close
from mmpretrain.structures import DataSample
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from robustnet_mm.models import TimmCNNTower
from robustnet_mm.registry import MODELS
from robustnet_mm.visual_tokens import TokenOutputs, VTResNet
from robustnet_mm.visual_tokens.head import VTTokenHead
from robustnet_mm.visual_tokens.resnet import VARIANTS

# depth -> million parameters with a classifier of 1000 classes and million multiply-adds at
# 224 x 224, as published (Wu et al. 2021, tables 2 and 8); how many times fewer multiply-adds than
# the stage that they replace the modules of tokens take here (docs/visual-tokens.md)
SIZES = {
    18: (11.6, 1579, 2.3),
    34: (21.8, 3299, 2.1),
    50: (21.4, 3412, 3.2),
    101: (41.5, 7129, 3.2),
}
IMAGES = torch.randn(2, 3, 64, 80)


def small(depth=18, **kwargs):
    return VTResNet(depth, **dict(num_tokens=4, token_channels=32, num_heads=2, **kwargs)).eval()


def num_parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def multiply_adds(net):
    """Million of them for an image of 224 x 224: module -> number"""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, 3, 224, 224))
    return {name: sum(ops.values()) / 2e6 for name, ops in counter.get_flop_counts().items()}


@pytest.mark.parametrize("depth", VARIANTS)
def test_sizes_are_those_of_the_paper(depth):
    net, (parameters, total, less) = VTResNet(depth), SIZES[depth]
    head = VTTokenHead(num_classes=1000, in_channels=net.token_channels)
    assert (num_parameters(net) + num_parameters(head)) / 1e6 == pytest.approx(parameters, rel=0.02)
    counted = multiply_adds(net)
    assert counted["Global"] == pytest.approx(total, rel=0.04)
    stage = multiply_adds(timm.create_model(f"resnet{depth}"))["ResNet.layer4"]
    assert stage / sum(counted[f"VTResNet.vt.{k}"] for k in range(len(net.vt))) > less


def test_more_tokens_cost_a_filter_each_and_nothing_else():
    few, many = small(), VTResNet(18, num_tokens=9, token_channels=32, num_heads=2)
    assert num_parameters(many) - num_parameters(few) == 5 * few.out_channels[-1]


def test_each_module_has_weights_of_its_own():
    first, second, third = small(34).vt
    shared = [{id(p) for p in module.parameters()} for module in (first, second, third)]
    assert not shared[0] & shared[1] and not shared[1] & shared[2]
    assert third.projector is None and second.projector is not None


def test_stem_and_stages_are_the_resnets():
    net, whole = small(), timm.create_model("resnet18", num_classes=5).eval()
    net.cnn.model.load_state_dict(
        {k: v for k, v in whole.state_dict().items() if not k.startswith(("layer4", "fc"))}
    )
    with torch.no_grad():
        expected = whole.forward_intermediates(IMAGES, intermediates_only=True)
        found = net(IMAGES).maps
    for own, other in zip(found[:2], expected[1:3], strict=True):
        close(own, other, whole)


def test_a_published_file_starts_all_but_the_tokens(tmp_path):
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18.pth")
    start = dict(type="robustnet_mm.PretrainedTower", checkpoint=str(tmp_path / "resnet18.pth"))
    net = small(cnn=dict(init_cfg=start))
    net.init_weights()
    file = torch.load(tmp_path / "resnet18.pth")
    own = net.cnn.model.state_dict()
    assert own and all(torch.equal(value, file[key]) for key, value in own.items())


def test_a_file_of_the_whole_resnet_as_a_tower_of_this_package_starts_it_too(tmp_path):
    whole = TimmCNNTower("resnet18")
    weights = {f"backbone.{key}": value for key, value in whole.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / "twin.pth")
    start = dict(type="robustnet_mm.PretrainedTower", checkpoint=str(tmp_path / "twin.pth"))
    net = small(cnn=dict(init_cfg=dict(start, prefix="backbone.")))
    net.init_weights()
    own = net.cnn.state_dict()
    assert own and all(torch.equal(value, whole.state_dict()[key]) for key, value in own.items())


def test_weights_of_another_depth_are_named(tmp_path):
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "resnet34.pth")
    start = dict(type="robustnet_mm.PretrainedTower", checkpoint=str(tmp_path / "resnet34.pth"))
    with pytest.raises(ValueError, match="do not fit TimmCNNTower.*left over: .*layer1.2"):
        small(cnn=dict(init_cfg=start)).init_weights()


@pytest.mark.parametrize("tokenizer", ["filter", "cluster", "pooling"])
@pytest.mark.parametrize("size", [(33, 65), (64, 64), (96, 50)])
def test_any_image_gives_tokens_and_gradients_to_all(tokenizer, size):
    net = small(tokenizer=tokenizer).train()
    outputs = net(torch.randn(2, 3, *size))
    assert isinstance(outputs, TokenOutputs) and outputs.tokens.shape == (2, 4, 32)
    outputs.tokens.square().sum().backward()
    for name, parameter in net.named_parameters():  # timm's blocks start as if they were not there
        assert parameter.grad is not None and (parameter.grad.any() or name.startswith("cnn")), name


def test_recomputing_in_the_backward_pass_changes_nothing():
    stored, saving = small().train(), small(with_cp=True).train()
    saving.load_state_dict(stored.state_dict())
    for net in (stored, saving):
        net(IMAGES).tokens.square().mean().backward()
    pairs = zip(stored.parameters(), saving.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)


def test_autocast_stays_near_full_precision():
    net = small()
    with torch.no_grad():
        full = net(IMAGES).tokens
        with torch.autocast("cpu", torch.bfloat16):
            half = net(IMAGES).tokens
    # 2**-8 a layer; errors of layers are independent, so they add up by the root of their number
    assert (half - full).abs().mean() < 2**-8 * 20**0.5 * full.abs().mean()


def test_frozen_stages_and_norms_are_the_resnets():
    net = small(cnn=dict(frozen_stages=2, norm_eval=True)).train()
    grads = {name: p.requires_grad for name, p in net.named_parameters()}
    assert not grads["cnn.model.layer2.1.conv2.weight"] and grads["cnn.model.layer3.0.conv1.weight"]
    assert not net.cnn.model.layer3[0].bn1.training and all(
        g for n, g in grads.items() if "vt" in n
    )


def test_layers_are_counted_from_the_stem_to_the_modules_of_tokens():
    net = small()
    depths = [net.get_layer_depth(f"backbone.{n}", "backbone.") for n, _ in net.named_parameters()]
    assert depths == sorted(depths) and {number for _, number in depths} == {6 + 2 + 2}
    assert depths[0][0] == 0 and depths[-1][0] == 8


def test_the_head_classifies_the_mean_of_the_tokens():
    head = MODELS.build(dict(type="robustnet_mm.VTTokenHead", num_classes=3, in_channels=32))
    tokens = torch.randn(2, 4, 32)
    close(head(TokenOutputs((), tokens)), head.fc(tokens.mean(1)))
    samples = [DataSample().set_gt_label(k) for k in (0, 2)]
    assert head.loss(TokenOutputs((), tokens), samples)["loss"] > 0
    with pytest.raises(ValueError, match="reads tokens, got maps only"):
        head((torch.randn(2, 32, 4, 4),))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: VTResNet(152), "depth must be one of 18, 34, 50, 101, got 152"),
        (lambda: VTResNet([18]), r"depth must be one of 18, 34, 50, 101, got \[18\]"),
        (lambda: small(cnn="resnet18"), "cnn must be a dict such as .* got 'resnet18'"),
        (lambda: small(cnn=dict(frozen_stage=1)), "cnn.frozen_stage is no argument.*frozen_stages"),
        (lambda: small(cnn=dict(num_levels=2)), "cnn.num_levels is no argument of TimmCNNTower"),
        (lambda: small(cnn=dict(model_args=dict(output_stride=16))), "must not have output_stride"),
        (lambda: small(tokenizer="recurrent"), "tokenizer must be one of filter, cluster, pooling"),
        (lambda: VTResNet(18, token_channels=100), "multiple of 4 . num_heads = 64, got 100"),
        (lambda: VTResNet(18)(torch.randn(1, 3, 32, 32)), "num_tokens must be at most .* 2 x 2"),
        (
            lambda: small(cnn=dict(frozen_stages=4)),
            "frozen_stages of TimmCNNTower must be in -1..3",
        ),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(make, message):
    with pytest.raises(ValueError, match=message):
        make()
