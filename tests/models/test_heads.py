import pytest
import torch
from helpers import close, labelled, tower_outputs, two_towers
from mmengine.runner.checkpoint import load_state_dict
from mmpretrain.models import CrossEntropyLoss, LabelSmoothLoss
from mmpretrain.structures import DataSample

from robustnet_mm.models import TwoTowerHead

SOFT = dict(type="mmpretrain.CrossEntropyLoss", use_soft=True)


def test_logits_read_the_last_map_and_the_class_token():
    two, out = two_towers(), tower_outputs()
    cnn, vit, _ = two(out)
    close(cnn, two.cnn.fc(out.maps[-1].mean((2, 3))))
    close(vit, two.vit.fc(two.vit.norm(out.tokens))[:, 0])


def test_avg_pools_patch_tokens_only_and_norms_afterwards():
    two, out = two_towers("avg"), tower_outputs(prefix=2)
    expected = two.vit.fc(two.vit.norm(out.tokens[:, 2:].mean(1)))
    close(two(out)[1], expected)


def test_avg_can_pool_after_the_norm():
    two, out = two_towers("avg"), tower_outputs(prefix=2)
    two.vit.norm_first = True
    close(two(out)[1], two.vit.fc(two.vit.norm(out.tokens[:, 2:]).mean(1)))


def test_the_loss_is_the_mean_of_the_two_heads_losses():
    two, out = two_towers(), tower_outputs()
    labels = torch.tensor([0, 4, 2, 2])
    cnn, vit = (torch.nn.functional.cross_entropy(logits, labels) for logits in two(out)[:2])
    losses = two.loss(out, labelled())
    close(sum(losses.values()), (cnn + vit) / 2)
    weighted = two_towers(loss_weights=(3, 1))
    weighted.load_state_dict(two.state_dict())
    close(sum(weighted.loss(out, labelled()).values()), (3 * cnn + vit) / 4)


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
    two, out, soft = two_towers(loss=config), tower_outputs(), torch.rand(4, 5).softmax(1)
    losses = two.loss(out, [DataSample().set_gt_score(score) for score in soft])
    expected = [module(logits, soft) / 2 for logits in two(out)[:2]]
    close(list(losses.values()), expected)


def test_a_third_weight_is_that_of_the_summed_logits():
    two, out = two_towers(loss_weights=(1, 1, 2)), tower_outputs()
    cnn, vit, _ = two(out)
    label = torch.cat([sample.gt_label for sample in labelled()])
    losses = two.loss(out, labelled())
    assert list(losses) == ["loss_cnn", "loss_vit", "loss_joint"]
    expected = torch.nn.functional.cross_entropy(cnn + vit, label) / 2
    close(losses["loss_joint"], expected)


def test_predictions_sum_the_logits_and_keep_each_heads_scores():
    two, out = two_towers(), tower_outputs()
    cnn, vit, _ = two(out)
    for k, sample in enumerate(two.predict(out, labelled())):
        close(sample.pred_score, (cnn + vit)[k].softmax(0))
        close(sample.cnn_score, cnn[k].softmax(0))
        close(sample.vit_score, vit[k].softmax(0))
        assert sample.pred_label.item() == (cnn + vit)[k].argmax().item()
    assert len(two.predict(out)) == 4  # without data samples too


def test_a_checkpoint_of_other_classes_says_so_and_keeps_the_rest(logged):
    old = TwoTowerHead(7, dict(in_channels=12), dict(in_channels=16))
    torch.nn.init.normal_(old.vit.norm.weight)
    new = two_towers()
    before = new.cnn.fc.weight.clone()
    load_state_dict(new, old.state_dict(), strict=False)
    assert any(
        "cnn.fc.weight has 7 classes in the checkpoint and 5 here" in line for line in logged
    )
    assert torch.equal(new.cnn.fc.weight, before)
    assert torch.equal(new.vit.norm.weight, old.vit.norm.weight)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="pool must be 'token' or 'avg', got 'max'"):
        two_towers("max")
    for weights in ((0, 0), (1, -1), (1,), (1, 1, 1, 1)):
        with pytest.raises(ValueError, match="loss_weights must be 2 or 3 numbers .*, got"):
            two_towers(loss_weights=weights)
    with pytest.raises(ValueError, match="combine must be one of sum, weights, .* got 'mean'"):
        two_towers(combine="mean")
    with pytest.raises(ValueError, match="combine='fused' learns from .* set the third"):
        two_towers(combine="fused")
    with pytest.raises(ValueError, match="loss_weights must be .* got"):
        two_towers(combine="fused", loss_weights=(0, 0, 1))
    with pytest.raises(ValueError, match="that of the cnn does not: take dict"):
        cnn = dict(model_name="resnetv2_50", model_args=dict(layers=(1, 1, 1, 1)))
        vit = dict(in_channels=16)
        TwoTowerHead(5, cnn, vit, combine="fused", loss_weights=(1, 1, 1))
    with pytest.raises(ValueError, match="apart must be a number >= 0, got -1"):
        two_towers(apart=-1)
    with pytest.raises(ValueError, match="got maps only: set out_type='towers' in backbone"):
        two_towers()(tower_outputs().maps)
    with pytest.raises(ValueError, match="pool='token' needs a ViT with a class token"):
        two_towers()(tower_outputs(prefix=0))
