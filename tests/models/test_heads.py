import pytest
import torch
from helpers import close
from mmengine.runner.checkpoint import load_state_dict
from mmpretrain.models import CrossEntropyLoss, LabelSmoothLoss
from mmpretrain.structures import DataSample

from robustnet_mm.models import TowerOutputs, TwoTowerHead
from robustnet_mm.models.combining import negative_correlation

SOFT = dict(type="mmpretrain.CrossEntropyLoss", use_soft=True)

TIMM = dict(
    cnn=dict(model_name="mobilenetv2_050"),
    vit=dict(model_name="deit_tiny_patch16_224", model_args=dict(embed_dim=48, num_heads=3)),
)
LEARNED = ["weights", "class_weights", "fused"]


def outputs(prefix=1):
    return TowerOutputs(
        (torch.randn(4, 8, 6, 6), torch.randn(4, 12, 3, 3)), torch.randn(4, prefix + 6, 16), (2, 3)
    )


def head(pool="token", **kwargs):
    made = TwoTowerHead(5, dict(in_channels=12), dict(in_channels=16, pool=pool), **kwargs)
    torch.nn.init.normal_(made.vit.norm.weight)
    return made


def samples():
    return [DataSample().set_gt_label(label) for label in (0, 4, 2, 2)]


def test_logits_read_the_last_map_and_the_class_token():
    two, out = head(), outputs()
    cnn, vit, _ = two(out)
    close(cnn, two.cnn.fc(out.maps[-1].mean((2, 3))))
    close(vit, two.vit.fc(two.vit.norm(out.tokens))[:, 0])


def test_avg_pools_patch_tokens_only_and_norms_afterwards():
    two, out = head("avg"), outputs(prefix=2)
    expected = two.vit.fc(two.vit.norm(out.tokens[:, 2:].mean(1)))
    close(two(out)[1], expected)


def test_avg_can_pool_after_the_norm():
    two, out = head("avg"), outputs(prefix=2)
    two.vit.norm_first = True
    close(two(out)[1], two.vit.fc(two.vit.norm(out.tokens[:, 2:]).mean(1)))


def test_the_loss_is_the_mean_of_the_two_heads_losses():
    two, out = head(), outputs()
    labels = torch.tensor([0, 4, 2, 2])
    cnn, vit = (torch.nn.functional.cross_entropy(logits, labels) for logits in two(out)[:2])
    losses = two.loss(out, samples())
    close(sum(losses.values()), (cnn + vit) / 2)
    weighted = head(loss_weights=(3, 1))
    weighted.load_state_dict(two.state_dict())
    close(sum(weighted.loss(out, samples()).values()), (3 * cnn + vit) / 4)


@pytest.mark.parametrize(
    "config, module",
    [
        (SOFT, CrossEntropyLoss(use_soft=True)),
        (
            dict(type="mmpretrain.LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
            LabelSmoothLoss(0.1, mode="original", num_classes=5),
        ),
    ],
)
def test_soft_labels_of_mixup_reach_both_losses(config, module):
    two, out, soft = head(loss=config), outputs(), torch.rand(4, 5).softmax(1)
    losses = two.loss(out, [DataSample().set_gt_score(score) for score in soft])
    expected = [module(logits, soft) / 2 for logits in two(out)[:2]]
    close(list(losses.values()), expected)


@pytest.mark.parametrize("combine", LEARNED)
def test_a_learned_prediction_takes_nothing_from_the_towers_losses(combine):
    two, out = head(combine=combine, loss_weights=(3, 1, 2)), outputs()
    label = torch.cat([sample.gt_label for sample in samples()])
    cnn, vit, joint = (torch.nn.functional.cross_entropy(one, label) for one in two(out))
    expected = dict(loss_cnn=3 * cnn / 4, loss_vit=vit / 4, loss_joint=2 * joint / 4)
    losses = two.loss(out, samples())
    close([losses[name] for name in expected], list(expected.values()))


def test_a_third_weight_is_that_of_the_summed_logits():
    two, out = head(loss_weights=(1, 1, 2)), outputs()
    cnn, vit, _ = two(out)
    label = torch.cat([sample.gt_label for sample in samples()])
    losses = two.loss(out, samples())
    assert list(losses) == ["loss_cnn", "loss_vit", "loss_joint"]
    expected = torch.nn.functional.cross_entropy(cnn + vit, label) / 2
    close(losses["loss_joint"], expected)


def test_predictions_sum_the_logits_and_keep_each_heads_scores():
    two, out = head(), outputs()
    cnn, vit, _ = two(out)
    for k, sample in enumerate(two.predict(out, samples())):
        close(sample.pred_score, (cnn + vit)[k].softmax(0))
        close(sample.cnn_score, cnn[k].softmax(0))
        close(sample.vit_score, vit[k].softmax(0))
        assert sample.pred_label.item() == (cnn + vit)[k].argmax().item()
    assert len(two.predict(out)) == 4  # without data samples too


@pytest.mark.parametrize("combine", LEARNED)
@pytest.mark.parametrize("of_timm", [False, True])
def test_a_learned_prediction_starts_as_the_sum_and_teaches_the_towers_nothing(combine, of_timm):
    if of_timm:
        two = TwoTowerHead(5, **TIMM, combine=combine, loss_weights=(1, 1, 1))
        maps, tokens = (torch.randn(4, 160, 3, 3),), torch.randn(4, 7, 48)
    else:
        two = head(combine=combine, loss_weights=(1, 1, 1))
        maps, tokens, _ = outputs()
    out = TowerOutputs(tuple(one.requires_grad_() for one in maps), tokens.requires_grad_(), (2, 3))
    cnn, vit, joint = two(out)
    assert torch.equal(joint, cnn + vit)
    two.loss(out, samples())["loss_joint"].backward()
    assert maps[-1].grad is None and tokens.grad is None
    if of_timm:
        assert two.cnn.model.bn2.num_batches_tracked == 2  # once in each of two passes
    learned = {name for name, p in two.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned and all(name.startswith("combine.") for name in learned), learned


@pytest.mark.parametrize("combine", LEARNED)
def test_a_learned_prediction_finds_which_head_is_right(combine):
    two, out = head(combine=combine, loss_weights=(1, 1, 1)), outputs()
    label = torch.cat([sample.gt_label for sample in samples()])
    with torch.no_grad():
        two.vit.fc.weight.mul_(0)
        two.vit.fc.bias.copy_(torch.tensor([0.0, 9, 0, 0, 0]))  # sure of what is never so
    optimizer = torch.optim.Adam(two.combine.parameters(), lr=0.05)
    first = two.loss(out, samples())["loss_joint"].item()
    for _ in range(100):
        optimizer.zero_grad()
        two.loss(out, samples())["loss_joint"].backward()
        optimizer.step()
    assert two.loss(out, samples())["loss_joint"].item() < first / 2
    joint = two(out).joint
    for sample, scores in zip(two.predict(out, samples()), joint, strict=True):
        close(sample.pred_score, scores.softmax(0))
    assert not torch.equal(joint.argmax(1), label.new_ones(4))


def test_heads_are_pushed_apart_where_both_are_sure():
    two, out = head(apart=2.0), outputs()
    same = torch.randn(4, 5)
    assert negative_correlation(same, same) == 0
    one, other = torch.eye(5)[:2] * 20
    close(negative_correlation(one[None], other[None]), torch.tensor(-0.5))  # both are sure
    assert abs(negative_correlation(one[None] / 20, other[None] / 20)) < 0.05  # neither is
    losses = two.loss(out, samples())
    close(losses["loss_apart"], 2 * negative_correlation(*two(out)[:2]))
    assert losses["loss_apart"] < 0 and "loss_apart" not in head().loss(out, samples())


def test_logits_of_half_precision_are_not_summed_in_it():
    two, out = head().bfloat16(), outputs()
    out = TowerOutputs(tuple(m.bfloat16() for m in out.maps), out.tokens.bfloat16(), out.grid)
    cnn, vit, joint = two(out)
    assert cnn.dtype == torch.bfloat16 and torch.equal(joint, cnn.float() + vit.float())


def test_a_checkpoint_of_other_classes_says_so_and_keeps_the_rest(logged):
    old = TwoTowerHead(7, dict(in_channels=12), dict(in_channels=16))
    torch.nn.init.normal_(old.vit.norm.weight)
    new = head()
    before = new.cnn.fc.weight.clone()
    load_state_dict(new, old.state_dict(), strict=False)
    assert any(
        "cnn.fc.weight has 7 classes in the checkpoint and 5 here" in line for line in logged
    )
    assert torch.equal(new.cnn.fc.weight, before)
    assert torch.equal(new.vit.norm.weight, old.vit.norm.weight)


def test_learned_weights_of_other_classes_say_so(logged):
    learned = dict(combine="class_weights", loss_weights=(1, 1, 1))
    old = TwoTowerHead(7, dict(in_channels=12), dict(in_channels=16), **learned)
    load_state_dict(head(**learned), old.state_dict(), strict=False)
    told = "combine.offsets has 7 classes in the checkpoint and 5 here"
    assert any(told in line for line in logged)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="pool must be 'token' or 'avg', got 'max'"):
        head("max")
    for weights in ((0, 0), (1, -1), (1,), (1, 1, 1, 1)):
        with pytest.raises(ValueError, match="loss_weights must be 2 or 3 numbers .*, got"):
            head(loss_weights=weights)
    with pytest.raises(ValueError, match="combine must be one of sum, weights, .* got 'mean'"):
        head(combine="mean")
    with pytest.raises(ValueError, match="combine='fused' learns from .* set the third"):
        head(combine="fused")
    with pytest.raises(ValueError, match="loss_weights must be .* got"):
        head(combine="fused", loss_weights=(0, 0, 1))
    with pytest.raises(ValueError, match="that of the cnn does not: take dict"):
        cnn = dict(model_name="resnetv2_50", model_args=dict(layers=(1, 1, 1, 1)))
        vit = dict(in_channels=16)
        TwoTowerHead(5, cnn, vit, combine="fused", loss_weights=(1, 1, 1))
    with pytest.raises(ValueError, match="apart must be a number >= 0, got -1"):
        head(apart=-1)
    with pytest.raises(ValueError, match="got maps only: set out_type='towers' in backbone"):
        head()(outputs().maps)
    with pytest.raises(ValueError, match="pool='token' needs a ViT with a class token"):
        head()(outputs(prefix=0))
