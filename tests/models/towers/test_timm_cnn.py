import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from helpers import apart, but_extended, randomize

from robustnet_mm.models import TimmCNNTower, TowerOutputs
from robustnet_mm.models.classifiers import TimmCNNClassifier
from robustnet_mm.weights import PretrainedTower

# a small member of each family whose blocks are reached inside
INSIDE = """resnet10t resnet26d resnext26ts wide_resnet50_2 seresnet50 ecaresnet26t resnetblur50
    regnetx_002 regnety_002 regnetv_040 convnext_atto convnextv2_atto mobilenetv2_050
    mobilenetv3_small_050 mobilenetv3_large_075 efficientnet_b0 tf_efficientnet_b0
    efficientnetv2_rw_t tf_efficientnetv2_b0""".split()
AT_BORDERS = "mobilenetv4_conv_small resnest14d legacy_seresnet18 darknet17 hgnet_tiny".split()
# of the same kinds of blocks as others, with more of them or other numbers
LARGER = """resnet26d wide_resnet50_2 ecaresnet26t resnetblur50 regnetx_002 regnetv_040
    mobilenetv3_large_075 tf_efficientnet_b0 efficientnetv2_rw_t legacy_seresnet18
    darknet17 hgnet_tiny""".split()
WITHOUT_STAGES = "densenet121 vgg11 inception_v3 dla34 swin_tiny_patch4_window7_224".split()


@pytest.mark.parametrize("name", but_extended(INSIDE + AT_BORDERS, LARGER))
def test_a_published_file_gives_the_librarys_maps_and_logits_at_any_size(name, tmp_path):
    theirs = randomize(timm.create_model(name, num_classes=7))
    torch.save(theirs.state_dict(), tmp_path / "cnn.pth")
    own_norm = TimmCNNTower(name).input_norm
    tower = TimmCNNTower(name, data_norm=own_norm).eval()
    head = TimmCNNClassifier(7, name).eval()
    for module in (tower, head):
        assert not PretrainedTower(str(tmp_path / "cnn.pth"))(module).missing
    assert all(b.reaches_inside for b in tower.blocks) == (name in INSIDE)
    for size in ((224, 224), (97, 161)):
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            maps = tower(images)
            assert torch.equal(head(TowerOutputs(maps, None, None)), theirs(images))
            if hasattr(theirs, "forward_intermediates"):
                own = theirs.forward_intermediates(images, intermediates_only=True)
                assert all(any(torch.equal(feat, x) for x in own) for feat in maps)
        if size == (224, 224):
            assert tower.out_strides == tuple(224 // feat.size(-1) for feat in maps)
        assert tower.out_channels == tuple(feat.size(1) for feat in maps)
    assert tower.out_strides == (4, 8, 16, 32)


@pytest.mark.parametrize("name", but_extended(INSIDE, set(LARGER) & set(INSIDE)))
def test_the_guide_joins_the_spatial_convolution_and_the_detail_is_its_output(name):
    tower = TimmCNNTower(name).eval()
    randomize(tower)
    feat = tower.stem(torch.randn(1, 3, 64, 64))
    for block in tower.blocks[:2] + tower.blocks[-2:-1]:
        if block is tower.blocks[-2]:
            feat = run_until(tower, block)
        guide = torch.randn(1, block.guide_channels, 2, 2)
        (plain, detail), before = with_inputs(block, feat)
        (guided, _), inputs = with_inputs(block, feat, guide)
        assert detail.size(1) == block.detail_channels
        changed = [m for m in before if not torch.equal(before[m], inputs[m])]
        resized = F.interpolate(guide, before[changed[0]].shape[-2:], mode="nearest")
        assert torch.equal(inputs[changed[0]], before[changed[0]] + resized)
        assert plain.shape == guided.shape and apart(plain, guided)
        feat = plain


def with_inputs(block, *args):
    """What a block gives, and what each of its spatial convolutions read."""
    inputs = {}
    convs = [m for m in block.modules() if isinstance(m, torch.nn.Conv2d)]
    handles = [c.register_forward_pre_hook(lambda m, args: inputs.update({m: args[0]}))
               for c in convs if c.kernel_size != (1, 1)]  # fmt: skip
    with torch.no_grad():
        outputs = block(*args)
    for handle in handles:
        handle.remove()
    return outputs, inputs


def run_until(tower, last):
    feat = tower.stem(torch.randn(1, 3, 64, 64))
    for block in tower.blocks:
        if block is last:
            return feat
        feat, _ = block(feat)


def test_the_detail_of_a_bottleneck_is_what_its_second_activation_gives():
    tower = TimmCNNTower("resnet26d").eval()
    seen = []
    tower.model.layer1[0].act2.register_forward_hook(lambda m, args, out: seen.append(out.clone()))
    with torch.no_grad():
        _, detail = tower.blocks[0](tower.stem(torch.randn(1, 3, 64, 64)))
    assert torch.equal(detail, seen[0]) and (detail >= 0).all()


def test_blocks_that_cannot_be_reached_are_said_once_and_exchange_at_their_borders(logged):
    tower = TimmCNNTower("mobilenetv4_conv_small")
    lines = [line for line in logged if "cannot be reached inside" in line]
    assert len(lines) == 1 and "12 of 17 blocks of mobilenetv4_conv_small" in lines[0]
    closed = next(block for block in tower.blocks if not block.reaches_inside)
    feat = torch.randn(1, closed.guide_channels, 8, 8)
    out, detail = closed.eval()(feat, torch.ones(1, closed.guide_channels, 1, 1))
    assert detail is out and torch.equal(out, closed(feat + 1)[0])


@pytest.mark.parametrize("name", WITHOUT_STAGES)
def test_a_network_without_stages_is_refused_with_those_that_work(name):
    with pytest.raises(ValueError, match=f"{name}.*take ResNet, ResNeXt, .*with a stem and stages"):
        TimmCNNTower(name)


@pytest.mark.parametrize(
    "name, args, message",
    [
        ("resnet5", {}, "must be a name of timm's, got 'resnet5'; close to it: resnet50"),
        ("resnet50.a9_in1k", {}, "no weights with the tag 'a9_in1k': take one of .*a1_in1k"),
        ("resnet18", dict(depth=3), "timm cannot make 'resnet18' with {'depth': 3}.*model_args"),
        ("vit_tiny_patch16_224", {}, "it is a ViT: name it in ViTTower"),
        ("maxvit_rmlp_pico_rw_256", {}, "cannot be followed block by block .*window.*take ResNet"),
    ],
)
def test_a_wrong_name_is_named_with_what_to_take(name, args, message):
    with pytest.raises(ValueError, match=message):
        TimmCNNTower(name, args)


class MoreThanStages(torch.nn.Module):
    """Its features are not those of its stem and stages alone."""

    pretrained_cfg = dict(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, 4, padding=1)
        self.stages = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1), torch.nn.Conv2d(8, 8, 1))

    def forward_features(self, images):
        feat = self.stem(images)
        return self.stages(feat) + (feat if len(self.stages) else 0)


@timm.models.register_model
def more_than_stages(pretrained=False, **kwargs):
    return MoreThanStages()


def test_a_network_that_does_more_than_its_stages_is_refused():
    with pytest.raises(ValueError, match="its stem and stages alone do not give its features"):
        TimmCNNTower("more_than_stages")


def test_making_a_tower_draws_no_random_numbers_beyond_timms_and_leaves_the_statistics():
    torch.manual_seed(0)
    timm.create_model("resnet10t")
    expected = torch.rand(1)
    torch.manual_seed(0)
    tower = TimmCNNTower("resnet10t")
    assert torch.equal(torch.rand(1), expected)
    assert tower.training and all(m.training for m in tower.modules())
    assert tower.model.bn1.num_batches_tracked == 0 and not tower.model.bn1.running_mean.any()


def test_a_tower_that_stops_early_has_fewer_levels():
    tower = TimmCNNTower("resnet10t", dict(output_stride=16)).eval()
    assert tower.out_strides == (4, 8, 16) and tower.level_ends[-1] == len(tower.blocks) - 1
    assert tower(torch.randn(1, 3, 64, 64))[-1].shape[-2:] == (4, 4)


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "mobilenetv2_050", "regnety_002"])
def test_levels_that_are_not_asked_for_are_left_out_and_so_are_their_weights(name, tmp_path):
    theirs = randomize(timm.create_model(name))
    torch.save(theirs.state_dict(), tmp_path / "cnn.pth")
    whole, part = TimmCNNTower(name).eval(), TimmCNNTower(name, num_levels=3).eval()
    for tower in (whole, part):
        assert not PretrainedTower(str(tmp_path / "cnn.pth"))(tower).missing
    own, whole_keys = part.state_dict().keys(), whole.state_dict().keys()
    assert own < whole_keys and part.out_channels == whole.out_channels[:3]
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        pairs = list(zip(part(images), whole(images)[:3], strict=True))
    assert len(pairs) == 3 and all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(ValueError, match="num_levels of .* must be in 1..4, got 5"):
        TimmCNNTower(name, num_levels=5)


@pytest.mark.parametrize("name", ["convnext_atto", "efficientnet_b0", "regnety_002"])
def test_frozen_stages_recomputation_and_depths_follow_timms_names(name):
    tower = TimmCNNTower(name, frozen_stages=2, with_cp=True).train()
    end = tower.level_ends[1]
    for index, block in enumerate(tower.blocks):
        trains = [parameter.requires_grad for parameter in block.parameters()]
        assert all(trains) if index > end else not any(trains)
    depths = [tower.get_layer_depth(n, "")[0] for n, _ in tower.named_parameters()]
    assert set(depths) == set(range(len(tower.blocks) + 1)) and depths == sorted(depths)
    plain = copy.deepcopy(tower)
    plain.with_cp = False
    images = torch.randn(2, 3, 64, 64)
    for network in (tower, plain):
        network(images)[-1].square().mean().backward()
    for (key, a), b in zip(tower.named_parameters(), plain.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None) == (not a.requires_grad), key
        assert a.grad is None or torch.equal(a.grad, b.grad), key
