import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from robustnet_mm.models import ConvTower, RobustNet, TowerNeck


class Detector(nn.Module):
    def __init__(self, backbone=None):
        super().__init__()
        self.backbone = backbone or RobustNet("nano")
        self.neck = TowerNeck((32, 64, 128, 256), 96)


def rates(model, **paramwise):
    wrapper = build_optim_wrapper(
        model,
        dict(
            type="OptimWrapper",
            optimizer=dict(type="AdamW", lr=1.0, weight_decay=0.1),
            constructor="robustnet_mm.TowerLayerDecayConstructor",
            paramwise_cfg=paramwise,
        ),
    )
    names = {id(p): n for n, p in model.named_parameters()}
    groups = wrapper.optimizer.param_groups
    assert sum(len(g["params"]) for g in groups) == len(
        [p for p in model.parameters() if p.requires_grad]
    )
    assert groups[0]["lr"] == max(g["lr"] for g in groups)  # the rate that the logs show
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_each_tower_decays_by_its_own_rate_from_its_own_top():
    got = rates(
        Detector(),
        cnn=dict(decay_rate=0.9, lr_mult=0.5),
        vit=dict(decay_rate=0.7),
        fius=dict(lr_mult=5.0),
        others=dict(lr_mult=2.0),
    )
    assert got["backbone.cnn.blocks.7.conv2.weight"][0] == pytest.approx(0.5 * 0.9)
    assert got["backbone.cnn.blocks.0.conv2.weight"][0] == pytest.approx(0.5 * 0.9**8)
    assert got["backbone.cnn.conv1.weight"][0] == pytest.approx(0.5 * 0.9**9)
    assert got["backbone.vit.model.blocks.3.attn.qkv.weight"][0] == pytest.approx(0.7)
    assert got["backbone.vit.model.patch_embed.proj.weight"][0] == pytest.approx(0.7**5)
    assert got["backbone.fius.1.squeeze.linear.weight"][0] == 5.0
    assert got["neck.linears.0.weight"][0] == 2.0


def test_gates_follow_their_fius_unless_they_have_a_rate_of_their_own():
    gate, layer = "backbone.fius.1.squeeze.gate.scale", "backbone.fius.1.squeeze.proj.weight"
    model = Detector(RobustNet("nano", form="gated"))
    got = rates(model, fius=dict(lr_mult=5.0))
    assert got[gate][0] == got[layer][0] == 5.0
    got = rates(model, fius=dict(lr_mult=5.0), gates=dict(lr_mult=20.0))
    assert (got[gate][0], got[layer][0]) == (20.0, 5.0)


def test_norms_biases_gates_and_tables_take_no_weight_decay():
    got = rates(Detector(RobustNet("nano", form="gated")))
    plain = [
        "backbone.vit.model.pos_embed",
        "backbone.vit.model.cls_token",
        "backbone.fius.0.expand.gate.scale",
        "backbone.cnn.bn1.weight",
        "neck.norm.bias",
    ]
    assert all(got[name][1] == 0.0 for name in plain)
    assert got["backbone.cnn.conv1.weight"][1] == got["neck.linears.0.weight"][1] == 0.1


def test_frozen_parameters_are_left_out_and_a_tower_alone_works():
    model = Detector(RobustNet("nano", vit=dict(frozen_stages=4)))
    assert not any("backbone.vit" in name for name in rates(model))
    got = rates(Detector(ConvTower("nano")), cnn=dict(decay_rate=0.5))
    assert got["backbone.blocks.7.conv2.weight"][0] == 0.5


def test_a_step_moves_every_parameter():
    model = Detector()
    out = model.neck(model.backbone(torch.randn(2, 3, 64, 64)))
    wrapper = build_optim_wrapper(
        model,
        dict(
            type="OptimWrapper",
            optimizer=dict(type="SGD", lr=0.1),
            constructor="robustnet_mm.TowerLayerDecayConstructor",
        ),
    )
    wrapper.update_params(sum(feat.square().mean() for feat in out))
    assert all(weight.any() for weight in model.neck.linears.parameters())


@pytest.mark.parametrize(
    "paramwise, message",
    [
        (
            dict(vitt=dict(decay_rate=0.5)),
            "takes cnn, vit, fius, gates, others, got 'vitt'; did you mean 'vit'",
        ),
        (dict(vit=dict(decay=0.5)), "vit takes decay_rate, lr_mult, got decay=0.5"),
        (dict(fius=dict(decay_rate=0.5)), "fius takes lr_mult"),
        (dict(cnn=dict(decay_rate=1.5)), r"must be in \(0, 1\], got 1.5"),
        (dict(cnn=dict(lr_mult=-1)), "lr_mult of cnn must be .* >= 0, got -1"),
    ],
)
def test_wrong_settings_are_named(paramwise, message):
    with pytest.raises(ValueError, match=message):
        rates(Detector(), **paramwise)


def test_a_backbone_without_layer_depth_is_named():
    with pytest.raises(ValueError, match="needs a backbone with get_layer_depth.*got Linear"):
        rates(Detector(nn.Linear(2, 2)))
