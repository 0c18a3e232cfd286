from copy import deepcopy

import pytest
import timm
import torch
import torch.nn.functional as F
from helpers import FAMILIES, SMALL, apart, but_extended, randomize
from mmengine.model import ExponentialMovingAverage

from robustnet_mm.models import TowerOutputs, ViTTower
from robustnet_mm.models.classifiers import TimmViTClassifier
from robustnet_mm.weights import PretrainedTower


def small_vit(name="deit_tiny_patch16_224", **kwargs):
    return ViTTower(name, model_args=SMALL, **kwargs)


def library(name, args):
    """timm's own model with random weights and its own way to other sizes."""
    beit = name.startswith("beit")
    dynamic = {} if beit else dict(dynamic_img_size=True, dynamic_img_pad=True)
    return randomize(timm.create_model(name, num_classes=7, **args, **dynamic))


def library_logits(theirs, images, features=False):
    if not hasattr(theirs, "dynamic_img_size"):  # BEiT: resizes its tables once, pads nothing
        patch = theirs.patch_embed.patch_size[0]
        height, width = (-(-side // patch) * patch for side in images.shape[-2:])
        theirs.set_input_size((height, width))
        images = F.pad(images, (0, width - images.size(-1), 0, height - images.size(-2)))
    return theirs.forward_features(images) if features else theirs(images)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_published_file_gives_the_librarys_tokens_and_logits_at_any_size(name, tmp_path):
    args, key, num_prefix = FAMILIES[name]
    theirs = library(name, args)
    assert key is None or key in theirs.state_dict()
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    own_norm = ViTTower(name, args).input_norm
    tower = ViTTower(name, args, data_norm=own_norm).eval()
    head = TimmViTClassifier(7, name, args).eval()
    for module in (tower, head):
        report = PretrainedTower(str(tmp_path / "vit.pth"))(module)
        assert not report.missing and not report.resized
    for size in ((224, 224), (98, 161)):
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            tokens, grid = tower(images)
            logits = head(TowerOutputs((), tokens, grid))
            assert torch.equal(logits, library_logits(theirs, images))
            assert torch.equal(
                head.model.norm(tokens), library_logits(theirs, images, features=True)
            )
        assert grid == tuple(-(-a // b) for a, b in zip(size, tower.patch_size, strict=True))
        assert tokens.size(1) == tower.num_prefix_tokens + grid[0] * grid[1]
    assert tower.num_prefix_tokens == num_prefix


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "beitv2_base_patch16_224"])
def test_every_parameter_learns_at_another_size_with_recomputation_too(name):
    args = dict(depth=2, embed_dim=48, num_heads=3)
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        tower = ViTTower(name, args, with_cp=with_cp).train()
        tower(torch.ones(1, 3, 45, 80).cumsum(-1) / 80)[0].square().mean().backward()
        grads.append({n: p.grad for n, p in tower.named_parameters()})
    for key, grad in grads[0].items():
        assert grad is not None and torch.equal(grad, grads[1][key]), key


def test_rotary_positions_of_one_pass_are_the_same_in_every_block():
    """DINOv3 draws them at random in training: once per pass."""
    args = dict(depth=2, rope_rescale_coords=2.0)
    tower = ViTTower("vit_small_patch16_dinov3", args).train()
    seen = []
    for block in tower.blocks:
        block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    tower(torch.randn(1, 3, 64, 64))
    tower(torch.randn(1, 3, 64, 64))
    assert seen[0] is seen[1] and not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "beitv2_base_patch16_224"])
def test_two_sizes_before_one_backward_pass_recompute_each_its_own(name):
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        args = dict(depth=2, embed_dim=48, num_heads=3)
        tower = ViTTower(name, args, with_cp=with_cp).train()
        images = [torch.randn(1, 3, 48, 64), torch.randn(1, 3, 80, 32)]
        sum(tower(image)[0].square().mean() for image in images).backward()
        grads.append([parameter.grad for parameter in tower.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_two_sizes_in_turn_do_not_disturb_each_other():
    tower = ViTTower("beitv2_base_patch16_224", dict(depth=2, embed_dim=48, num_heads=3)).eval()
    small, large = torch.randn(1, 3, 48, 64), torch.randn(1, 3, 96, 32)
    first = tower(small)[0]
    tower(large)
    assert torch.equal(tower(small)[0], first)


def test_drop_path_grows_with_depth():
    rates = [getattr(b.drop_path1, "drop_prob", 0.0) for b in small_vit(drop_path_rate=0.2).blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_an_image_smaller_than_one_patch_is_refused():
    with pytest.raises(ValueError, match="at least one patch of 16 x 16 pixels, got 15 x 40"):
        small_vit().embed(torch.randn(1, 3, 15, 40))
    assert small_vit().embed(torch.randn(1, 3, 16, 16))[1].grid == (1, 1)


@pytest.mark.parametrize(
    "name, message",
    [
        ("vit_bas_patch16_224", "must be a name of timm's, got 'vit_bas_.*vit_base_patch16_224"),
        ("resnet50", "takes plain ViTs of timm only .*'resnet50'.*choose a ViT, DeiT"),
        ("vit_base_r50_s16_224", "a VisionTransformer with HybridEmbed"),
        ("samvit_base_patch16", "plain ViTs of timm only .*VisionTransformerSAM"),
        ("vit_relpos_small_patch16_224", "plain ViTs of timm only .*VisionTransformerRelPos"),
        ("swin_tiny_patch4_window7_224", "plain ViTs of timm only"),
        ("vit_base_patch16_224.ma", "no weights with the tag 'ma': take one of .*mae"),
    ],
)
def test_an_unknown_or_foreign_vit_is_named(name, message):
    with pytest.raises(ValueError, match=message):
        ViTTower(name)


UNLIKE = [  # a table of positions with and without prefix tokens; rotary ones of three kinds
    "vit_base_patch16_gap_224",
    "deit_tiny_distilled_patch16_224",
    "vit_small_patch16_dinov3",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_rope_mixed_224",
]


@torch.no_grad()
def change(tower, how):
    """Give the weights other values in one of the ways in which hosts do."""
    weights = list(tower.parameters())
    if how == "optimiser":
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        torch.optim.AdamW(weights, lr=0.5, fused=True).step()
    elif how == "in place":
        for weight in weights:
            weight.add_(0.5)
    elif how == "data":  # as mmengine's EMAHook swaps them
        for weight in weights:
            weight.data.copy_(weight + 0.5)
    elif how == "averaged":
        average = ExponentialMovingAverage(tower, momentum=0.5)
        average.avg_parameters = dict(tower.named_parameters())
        other = deepcopy(tower)
        for weight in other.parameters():
            weight.add_(0.5)
        average.update_parameters(other)
    else:
        new = {k: v + 0.5 for k, v in tower.state_dict().items()}
        tower.load_state_dict(new, assign=how == "replaced")


@pytest.mark.parametrize("name", but_extended(FAMILIES, set(FAMILIES) - set(UNLIKE)))
@pytest.mark.parametrize("how", ["optimiser", "in place", "data", "averaged", "loaded", "replaced"])
def test_positions_are_those_of_the_weights_whatever_changed_them(name, how):
    """In eval mode, without a call of .eval() in between, as an EMA's copy is used."""
    tower, images = ViTTower(name, FAMILIES[name][0]).eval(), torch.randn(1, 3, 80, 112)
    other = ViTTower(name, FAMILIES[name][0]).eval()
    with torch.inference_mode():
        before = tower(images)[0]
    change(tower, how)
    other.load_state_dict(tower.state_dict())
    with torch.inference_mode():
        after = tower(images)[0]
        assert torch.equal(after, other(images)[0])
    assert apart(after, before)
