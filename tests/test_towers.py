import pytest
import timm
import torch
import torchvision
from conftest import waken
from torch import nn

from robustnet_mm.models import ConvTower, ViTTower
from robustnet_mm.models.conv_blocks import CONV_ARCHS

CONFORMER_LEVELS = [6, 14, 20, 22]  # the units that end conv_trans_4, 8, 11, 12
SMALL_VIT = dict(depth=3, embed_dim=48, num_heads=3)


def small_vit(name="vit_tiny_patch16_224", **kwargs):
    return ViTTower(name, model_args=SMALL_VIT, **kwargs)


def count(modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnext50_32x4d"])
def test_a_resnet_tower_computes_what_torchvision_computes(name):
    theirs, ours = torchvision.models.get_model(name).eval(), ConvTower(name).eval()
    # the flat order of blocks equals the order of torchvision's own parameters
    ours.load_state_dict(
        dict(zip(ours.state_dict(), list(theirs.state_dict().values())[:-2], strict=True))
    )
    images = torch.randn(2, 3, 97, 64)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
    for stage, feat in zip("1234", ours(images), strict=True):
        x = getattr(theirs, f"layer{stage}")(x)
        assert torch.equal(x, feat)


@pytest.mark.parametrize("name", ["resnet101", "resnext101_32x8d"])
def test_large_resnets_have_torchvisions_shape(name):
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name), ConvTower(name)
    shapes = [tuple(v.shape) for v in theirs.state_dict().values()][:-2]
    assert [tuple(v.shape) for v in ours.state_dict().values()] == shapes


@pytest.mark.parametrize("size, ratio", [("tiny", 1), ("small", 4), ("base", 6)])
def test_conformers_conv_branch_has_the_published_shape(size, ratio):
    from mmpretrain.models import Conformer

    theirs, ours = Conformer(size), ConvTower(f"conformer_{size}")
    convs = [theirs.conv1, theirs.bn1, theirs.conv_1]
    for i in range(2, 13):
        block = getattr(theirs, f"conv_trans_{i}")
        convs += [block.cnn_block, block.fusion_block]
    assert count([ours]) == count(convs)
    assert len(ours.blocks) == 23 and ours.level_ends == CONFORMER_LEVELS
    c = 64 * ratio
    assert ours.out_channels == (c, 2 * c, 4 * c, 4 * c)


def test_a_fresh_cnn_keeps_its_maps_in_range_with_untrained_statistics():
    for feat in ConvTower("conformer_tiny", norm_eval=True).train()(torch.randn(1, 3, 96, 96)):
        assert 0.1 < feat.std() < 10


@pytest.mark.parametrize("arch", CONV_ARCHS)
def test_declared_channels_and_strides_are_those_of_the_maps(arch):
    tower = ConvTower(arch).eval()
    maps = tower(torch.randn(1, 3, 64, 96))
    assert tower.out_channels == tuple(feat.size(1) for feat in maps)
    assert [feat.shape[-2:] for feat in maps] == [(64 // s, 96 // s) for s in tower.out_strides]


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_base_patch14_dinov2", "vit_base_patch14_reg4_dinov2"]
)
@pytest.mark.parametrize("size", [(224, 224), (250, 131), (31, 400)])
def test_a_vit_tower_computes_what_timm_computes_at_any_size(name, size):
    args = dict(depth=2, embed_dim=48, num_heads=3)
    theirs = timm.create_model(
        name, num_classes=0, dynamic_img_size=True, dynamic_img_pad=True, **args
    ).eval()
    ours = ViTTower(name, model_args=args).eval()
    ours.model.load_state_dict(theirs.state_dict(), strict=False)
    images = torch.randn(2, 3, *size)
    tokens, grid = ours(images)
    assert torch.equal(theirs.norm(tokens), theirs.forward_features(images))
    patch = ours.patch_size[0]
    assert grid == (-(-size[0] // patch), -(-size[1] // patch))
    assert tokens.size(1) == ours.num_prefix_tokens + grid[0] * grid[1]


def test_drop_path_grows_with_depth():
    rates = [getattr(b.drop_path1, "drop_prob", 0.0) for b in small_vit(drop_path_rate=0.2).blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_an_image_smaller_than_one_patch_is_refused():
    with pytest.raises(ValueError, match="at least one patch of 16 x 16 pixels, got 15 x 40"):
        small_vit().embed(torch.randn(1, 3, 15, 40))
    assert small_vit().embed(torch.randn(1, 3, 16, 16))[1] == (1, 1)


@pytest.mark.parametrize(
    "name, message",
    [
        ("vit_bas_patch16_224", "must be a name of timm's, got 'vit_bas_.*vit_base_patch16_224"),
        ("resnet50", "takes timm's VisionTransformer models, not 'resnet50'"),
        ("eva02_base_patch14_224", "not 'eva02_base_patch14_224', a Eva with PatchEmbed"),
        ("vit_base_r50_s16_224", "a VisionTransformer with HybridEmbed"),
        ("deit_tiny_distilled_patch16_224", "VisionTransformer models, not"),
    ],
)
def test_an_unknown_or_foreign_vit_is_named(name, message):
    with pytest.raises(ValueError, match=message):
        ViTTower(name)


def test_an_unknown_cnn_lists_the_known():
    with pytest.raises(ValueError, match="must be one of nano, resnet18.*got 'resnet5'"):
        ConvTower("resnet5")


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
