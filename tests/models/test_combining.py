import pytest
import torch
from helpers import close, labelled, tower_outputs, two_towers
from mmengine.runner.checkpoint import load_state_dict

from robustnet_mm.models import TowerOutputs, TwoTowerHead
from robustnet_mm.models.combining import negative_correlation

TIMM = dict(
    cnn=dict(model_name="mobilenetv2_050"),
    vit=dict(model_name="deit_tiny_patch16_224", model_args=dict(embed_dim=48, num_heads=3)),
)
COMBINES = ["weights", "class_weights", "fused"]


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("of_timm", [False, True])
def test_a_learned_prediction_starts_as_the_sum_and_teaches_the_towers_nothing(combine, of_timm):
    if of_timm:
        two = TwoTowerHead(5, **TIMM, combine=combine, loss_weights=(1, 1, 1))
        maps, tokens = (torch.randn(4, 160, 3, 3),), torch.randn(4, 7, 48)
    else:
        two = two_towers(combine=combine, loss_weights=(1, 1, 1))
        maps, tokens, _ = tower_outputs()
    out = TowerOutputs(tuple(one.requires_grad_() for one in maps), tokens.requires_grad_(), (2, 3))
    cnn, vit, joint = two(out)
    assert torch.equal(joint, cnn + vit)
    two.loss(out, labelled())["loss_joint"].backward()
    assert maps[-1].grad is None and tokens.grad is None
    if of_timm:
        assert two.cnn.model.bn2.num_batches_tracked == 2  # once in each of two passes
    learned = {name for name, p in two.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned and all(name.startswith("combine.") for name in learned), learned


@pytest.mark.parametrize("combine", COMBINES)
def test_a_learned_prediction_takes_nothing_from_the_towers_losses(combine):
    two, out = two_towers(combine=combine, loss_weights=(3, 1, 2)), tower_outputs()
    label = torch.cat([sample.gt_label for sample in labelled()])
    cnn, vit, joint = (torch.nn.functional.cross_entropy(one, label) for one in two(out))
    expected = dict(loss_cnn=3 * cnn / 4, loss_vit=vit / 4, loss_joint=2 * joint / 4)
    losses = two.loss(out, labelled())
    close([losses[name] for name in expected], list(expected.values()))


@pytest.mark.parametrize("combine", COMBINES)
def test_a_learned_prediction_finds_which_head_is_right(combine):
    two, out = two_towers(combine=combine, loss_weights=(1, 1, 1)), tower_outputs()
    label = torch.cat([sample.gt_label for sample in labelled()])
    with torch.no_grad():
        two.vit.fc.weight.mul_(0)
        two.vit.fc.bias.copy_(torch.tensor([0.0, 9, 0, 0, 0]))  # sure of what is never so
    optimizer = torch.optim.Adam(two.combine.parameters(), lr=0.05)
    first = two.loss(out, labelled())["loss_joint"].item()
    for _ in range(100):
        optimizer.zero_grad()
        two.loss(out, labelled())["loss_joint"].backward()
        optimizer.step()
    assert two.loss(out, labelled())["loss_joint"].item() < first / 2
    joint = two(out).joint
    for sample, scores in zip(two.predict(out, labelled()), joint, strict=True):
        close(sample.pred_score, scores.softmax(0))
    assert not torch.equal(joint.argmax(1), label.new_ones(4))


def test_heads_are_pushed_apart_where_both_are_sure():
    two, out = two_towers(apart=2.0), tower_outputs()
    same = torch.randn(4, 5)
    assert negative_correlation(same, same) == 0
    one, other = torch.eye(5)[:2] * 20
    close(negative_correlation(one[None], other[None]), torch.tensor(-0.5))  # both are sure
    assert abs(negative_correlation(one[None] / 20, other[None] / 20)) < 0.05  # neither is
    losses = two.loss(out, labelled())
    close(losses["loss_apart"], 2 * negative_correlation(*two(out)[:2]))
    assert losses["loss_apart"] < 0 and "loss_apart" not in two_towers().loss(out, labelled())


def test_logits_of_half_precision_are_not_summed_in_it():
    two, out = two_towers().bfloat16(), tower_outputs()
    out = TowerOutputs(tuple(m.bfloat16() for m in out.maps), out.tokens.bfloat16(), out.grid)
    cnn, vit, joint = two(out)
    assert cnn.dtype == torch.bfloat16 and torch.equal(joint, cnn.float() + vit.float())


def test_learned_weights_of_other_classes_say_so(logged):
    learned = dict(combine="class_weights", loss_weights=(1, 1, 1))
    old = TwoTowerHead(7, dict(in_channels=12), dict(in_channels=16), **learned)
    load_state_dict(two_towers(**learned), old.state_dict(), strict=False)
    told = "combine.offsets has 7 classes in the checkpoint and 5 here"
    assert any(told in line for line in logged)
