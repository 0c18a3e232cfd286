import numpy as np
import pytest
import torch
from helpers import classifier, close, host_classifier, open_exchanges, photos
from torch import nn

from robustnet_mm.models import RobustNet
from robustnet_mm.models.grids import add_guide
from robustnet_mm.models.probe import ExchangeProbe, channel_strengths, exchange_shares, undisturbed

SMALL_VIT = dict(
    type="robustnet_mm.ViTTower",
    model_name="deit_tiny_patch16_224",
    model_args=dict(depth=2, embed_dim=48, num_heads=3),
)


@pytest.mark.parametrize("fuse", ["sum", "attention"])
def test_the_shares_are_ratios_of_norms_by_hand(fuse):
    """The first exchange, followed step by step outside the network."""
    net, images = classifier(fuse=fuse).backbone, photos(2)
    with torch.no_grad():
        feat, detail = net.cnn.blocks[0](net.cnn.stem(images))
        tokens, positions = net.vit.embed(images)
        grid = positions.grid
        after = net.fius[0].into_tokens(tokens, detail, grid)
        added = (after - tokens)[:, 1:]
        squeeze = added.flatten(1).norm(dim=1) / tokens[:, 1:].flatten(1).norm(dim=1)
        tokens = net.vit.run(0, after, positions)
        guide = net.fius[0].guide(tokens, detail, grid)
        block = net.cnn.blocks[1]
        base = block.relu(block.bn1(block.conv1(feat)))
        guide = add_guide(torch.zeros_like(base), guide)
        expand = guide.flatten(1).norm(dim=1) / base.flatten(1).norm(dim=1)
    found = exchange_shares(net, images)
    assert [one.pair for one in found] == net.exchanges
    close(found[0].squeeze.share, squeeze, net)
    close(found[0].expand.share, expand, net)
    assert found[0].squeeze.where.shape == (2, 4, 6) and found[0].expand.where.shape == (2, 16, 24)
    where = added.norm(dim=-1).unflatten(1, grid)
    ratio = found[0].squeeze.where / where.numpy()
    close(ratio[0], np.full_like(ratio[0], ratio[0, 0, 0]), net)


@pytest.mark.parametrize("form", ["zero_linear", "gated", "tokens"])
def test_at_the_start_exchanges_add_nothing_and_have_no_strength(form):
    model = classifier(opened=False, form=form)
    for one in exchange_shares(model, photos()):
        assert one.squeeze.share == 0 and one.expand.share == 0
    strengths = channel_strengths(model)
    assert list(strengths)[:2] == ["exchange 0 squeeze", "exchange 0 expand"]
    last = "exchange 3 squeeze"
    assert strengths[last].shape == (96,) and not strengths[last].any()
    open_exchanges(model.backbone)
    assert all(strength.all() for strength in channel_strengths(model).values())


def test_the_strength_is_what_a_channel_adds():
    """Uncorrelated tokens, many enough for the root mean square: its error is 1 % (5000 draws)."""
    model = classifier()
    expand = model.backbone.fius[0].expand
    torch.nn.init.zeros_(expand.linear.bias)
    torch.nn.init.ones_(expand.norm.weight)
    torch.nn.init.zeros_(expand.norm.bias)
    with torch.no_grad():
        added = expand(torch.randn(1, 5000, 96), None, (50, 100))[0].flatten(1)
    rms = added.square().mean(1).sqrt()
    np.testing.assert_allclose(channel_strengths(model)["exchange 0 expand"], rms, rtol=0.06)


def test_ungated_units_add_and_are_always_open():
    model = classifier(opened=False, form="ungated")
    assert channel_strengths(model) == {}
    assert all(one.squeeze.share > 0 for one in exchange_shares(model, photos()))


def test_one_direction_has_one_share():
    found = exchange_shares(classifier(direction="vit_to_cnn"), photos())
    assert all(one.squeeze is None and one.expand.share > 0 for one in found)


@pytest.mark.parametrize("name", ["mobilenetv2_050", "resnet10t", "mobilenetv4_conv_small"])
def test_blocks_of_timm_are_measured_where_the_guide_is_added(name):
    cnn = dict(type="robustnet_mm.TimmCNNTower", model_name=name)
    net = RobustNet(cnn=cnn, vit=SMALL_VIT, weave=[(0, 0)]).eval()
    closed = [u for u, block in enumerate(net.cnn.blocks) if not block.reaches_inside]
    if closed:  # there the guide is added at the border
        net = RobustNet(cnn=cnn, vit=SMALL_VIT, weave=[(closed[0] - 1, 0)]).eval()
    linear = net.fius[0].expand.linear
    nn.init.normal_(linear.weight)
    images = photos()
    (once,) = exchange_shares(net, images)
    assert once.squeeze.share == 0 and 0 < once.expand.share < np.inf
    linear.weight.data *= 3
    (thrice,) = exchange_shares(net, images)  # the map that it is added to is the same
    close(thrice.expand.share, 3 * once.expand.share, net)


@pytest.mark.parametrize("with_cp", [False, True])
def test_a_probe_changes_neither_outputs_nor_gradients_and_leaves_nothing(with_cp):
    model, images = classifier(with_cp=with_cp).train(), photos(2)
    net = model.backbone

    def step():
        net.zero_grad()
        out = net(images)
        (out.maps[-1].square().mean() + out.tokens.square().mean()).backward()
        return out.tokens.detach(), net.cnn.conv1.weight.grad.clone()

    state = {name: value.clone() for name, value in net.state_dict().items()}
    plain = step()
    net.load_state_dict(state)
    with ExchangeProbe(net) as probe:
        probed = step()
    for one, other in zip(plain, probed, strict=True):
        assert torch.equal(one, other)
    assert all(one.squeeze.share.shape == (2,) for one in probe.exchanges)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert not any("into_tokens" in fiu.__dict__ for fiu in net.fius)


def test_windows_do_not_hide_what_is_added():
    found = exchange_shares(classifier(vit=dict(window_size=2)), photos())
    assert all(one.squeeze.where.shape == (1, 4, 6) for one in found)


def test_networks_without_exchanges_are_named():
    with pytest.raises(ValueError, match="direction='none' makes no exchanges"):
        ExchangeProbe(classifier(direction="none"))
    with pytest.raises(ValueError, match="needs a robustnet_mm.RobustNet as backbone, got ResNet"):
        exchange_shares(host_classifier(), photos())


def test_a_model_is_left_as_it_was_after_it_was_looked_into():
    model = classifier().train()
    model.backbone.cnn.blocks[0].eval()
    weight = model.head.cnn.fc.weight
    weight.grad = torch.ones_like(weight)
    model.head.vit.fc.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    with undisturbed(model):
        assert not model.training and not weight.requires_grad
        weight.grad = None
    assert [module.training for module in model.modules()] == modes
    assert weight.requires_grad and torch.equal(weight.grad, torch.ones_like(weight))
    assert not model.head.vit.fc.weight.requires_grad
