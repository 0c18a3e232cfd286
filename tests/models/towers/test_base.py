import pytest
import torch
from helpers import waken
from torch import nn

from robustnet_mm.models import ConvTower, ViTTower

SMALL_VIT = dict(depth=3, embed_dim=48, num_heads=3)


def small_vit(name="deit_tiny_patch16_224", **kwargs):
    return ViTTower(name, model_args=SMALL_VIT, **kwargs)


def assert_frozen_prefix(tower, frozen, first_free):
    """Nothing of the frozen parts trains, changes or leaves eval mode, through .train()."""
    tower.train()
    assert all(not p.requires_grad for part in frozen for p in part.parameters())
    assert all(not m.training for part in frozen for m in part.modules())
    assert all(p.requires_grad for p in first_free.parameters()) and first_free.training
    before = {k: v.clone() for k, v in tower.state_dict().items()}
    params = [p for p in tower.parameters() if p.requires_grad]
    out = tower(torch.randn(2, 3, 64, 64))
    (out[-1] if isinstance(tower, ConvTower) else out[0]).square().mean().backward()
    torch.optim.SGD(params, lr=1.0).step()
    names = [n for n, m in tower.named_modules() if any(m is part for part in frozen)]
    assert names
    for key, value in tower.state_dict().items():
        if key.startswith(tuple(f"{name}." for name in names)):
            assert torch.equal(value, before[key]), key
    assert any(not torch.equal(v, before[k]) for k, v in tower.state_dict().items())


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_frozen_stages_of_the_cnn_stay_frozen_through_train(stages):
    tower = ConvTower("nano", frozen_stages=stages)
    done = 2 * stages  # two blocks a level
    assert_frozen_prefix(tower, [tower.conv1, tower.bn1, *tower.blocks[:done]], tower.blocks[done])


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_frozen_stages_of_the_vit_stay_frozen_through_train(stages):
    tower = small_vit(frozen_stages=stages)
    frozen = [tower.model.patch_embed, *tower.blocks[:stages]]
    assert_frozen_prefix(tower, frozen, tower.blocks[stages])
    assert not tower.model.pos_embed.requires_grad and not tower.model.cls_token.requires_grad


def test_frozen_stages_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"must be in -1..4, got 5"):
        ConvTower("nano", frozen_stages=5)
    with pytest.raises(ValueError, match=r"must be in -1..3, got 4"):
        small_vit(frozen_stages=4)


def test_norm_eval_keeps_every_batchnorm_in_eval_mode():
    tower = ConvTower("nano", norm_eval=True).train()
    norms = [m for m in tower.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms) and tower.training


def test_train_and_eval_return_the_tower():
    for tower in (ConvTower("nano"), small_vit()):
        assert tower.train() is tower and tower.eval() is tower


@pytest.mark.parametrize("make", [lambda **k: ConvTower("nano", **k), small_vit])
@pytest.mark.parametrize("frozen", [-1, 0, 1])
def test_checkpointing_changes_neither_outputs_nor_gradients_nor_statistics(make, frozen):
    plain = waken(make(frozen_stages=frozen)).train()
    saving = make(frozen_stages=frozen, with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for tower in (plain, saving):
        tower(images)[-1 if isinstance(tower, ConvTower) else 0].square().mean().backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None) == (not a.requires_grad), name
        assert a.grad is None or torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(a, b), name


def test_checkpointing_really_recomputes():
    tower, calls = small_vit(with_cp=True).train(), []
    tower.blocks[1].register_forward_pre_hook(lambda *args: calls.append(1))
    tower(torch.randn(1, 3, 32, 32))[0].sum().backward()
    assert len(calls) == 2


def test_layer_depth_counts_from_the_input():
    tower = small_vit()
    assert tower.get_layer_depth("model.pos_embed") == (0, 5)
    assert tower.get_layer_depth("model.blocks.2.attn.qkv.weight") == (3, 5)
    assert ConvTower("nano").get_layer_depth("backbone.blocks.7.conv1.weight", "backbone.") == (
        8,
        10,
    )
    assert ConvTower("nano").get_layer_depth("conv1.weight") == (0, 10)
