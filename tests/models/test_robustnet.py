import copy

import pytest
import torch
from helpers import SMALL, apart, but_extended, close, open_exchanges, randomize, waken

from robustnet_mm.models import VARIANTS, RobustNet, TwoTowerHead
from robustnet_mm.models.fiu import DIRECTIONS, FUSES
from robustnet_mm.registry import MODELS

PATCH14 = dict(
    cnn=dict(type="robustnet_mm.ConvTower", arch="nano"),
    vit=dict(type="robustnet_mm.ViTTower", model_name="vit_small_patch14_dinov2", model_args=SMALL),
)


def alone(net, images):
    """The two towers, each on its own, under the same random numbers."""
    torch.manual_seed(1)
    maps = net.cnn(images)
    torch.manual_seed(1)
    return maps, *net.vit(images)


def woven(net, images):
    torch.manual_seed(1)
    return net(images)


def assert_starts_exactly(net, images):
    waken(net.cnn)
    for mode in (False, True):
        net.train(mode)
        with torch.no_grad():
            maps, tokens, grid = alone(net, images)
            out = woven(net, images)
        assert out.grid == grid and torch.equal(out.tokens, tokens)
        assert all(torch.equal(a, b) for a, b in zip(out.maps, maps, strict=True))


@pytest.mark.parametrize("arch", but_extended(VARIANTS, ["large-patch16", "base-patch14"]))
def test_every_variant_starts_as_its_two_towers_bit_for_bit(arch):
    net = RobustNet(arch, vit=dict(drop_path_rate=0.2))
    assert len(net.exchanges) == len(net.fius) == (3 if arch == "nano" else 11)
    assert_starts_exactly(net, torch.randn(2, 3, 56, 56))


@pytest.mark.parametrize("fuse", FUSES)
@pytest.mark.parametrize("form", ["zero_linear", "gated"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_form_starts_exactly_in_each_direction(direction, form, fuse):
    net = RobustNet("nano", direction=direction, form=form, fuse=fuse)
    assert_starts_exactly(net, torch.randn(2, 3, 56, 56))


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize(
    "size", [None, (17, 31), (97, 33), (224, 224), (223, 449), (33, 1333), (800, 1333)]
)
def test_every_size_from_one_patch_to_1333_gives_finite_maps_and_tokens(patch, size):
    net = RobustNet(**(PATCH14 if patch == 14 else dict(arch="nano"))).eval()
    height, width = size or (patch, patch)
    with torch.no_grad():
        out = open_exchanges(net)(torch.randn(1, 3, height, width))
    assert out.grid == (-(-height // patch), -(-width // patch))
    assert out.tokens.shape == (1, 1 + out.grid[0] * out.grid[1], net.embed_dims)
    for feat, stride in zip(out.maps, net.out_strides, strict=True):
        assert feat.shape[-2:] == (-(-height // stride), -(-width // stride))
    assert all(x.isfinite().all() for x in (*out.maps, out.tokens))


@pytest.mark.parametrize("patch", [14, 16])
def test_padding_to_whole_patches_by_hand_changes_nothing_that_it_should_not(patch):
    net = RobustNet(**(PATCH14 if patch == 14 else dict(arch="nano"))).eval()
    waken(net.cnn)
    image = torch.randn(1, 3, 101, 150)
    height, width = (-(-side // patch) * patch for side in (101, 150))
    padded = torch.nn.functional.pad(image, (0, width - 150, 0, height - 101))
    with torch.no_grad():
        a, b = net(image), net(padded)
    assert a.grid == b.grid and torch.equal(a.tokens, b.tokens)  # the ViT pads just so
    # a cell of the finest map sees 21 pixels around it: 6 cells from the border all is the same
    inside = (..., slice(101 // 4 - 6), slice(150 // 4 - 6))
    close(a.maps[0][inside], b.maps[0][inside], depth=5)


# one of each kind of CNN of timm with one of each kind of ViT of timm
PAIRS = {
    "resnet10t": "deit_tiny_patch16_224",
    "seresnext26d_32x4d": "vit_small_patch14_reg4_dinov2",
    "regnety_002": "vit_small_patch16_dinov3",
    "convnext_atto": "eva02_tiny_patch14_224",
    "mobilenetv2_050": "vit_tiny_patch16_224",
    "mobilenetv3_small_050": "beitv2_base_patch16_224",
    "efficientnet_b0": "vit_base_patch16_siglip_224",
    "efficientnetv2_rw_t": "deit_tiny_distilled_patch16_224",
    "mobilenetv4_conv_small": "vit_base_patch16_clip_224",  # exchanges at its blocks' borders
}


def timm_pair(cnn, **kwargs):
    vit, args = PAIRS[cnn], dict(depth=3)
    if not vit.startswith(("vit_small_patch16_dinov3", "eva02")):  # their rotary tables fit heads
        args |= dict(embed_dim=48, num_heads=3)
    return RobustNet(
        cnn=dict(type="robustnet_mm.TimmCNNTower", model_name=cnn),
        vit=dict(type="robustnet_mm.ViTTower", model_name=vit, model_args=args),
        weave="even",
        **kwargs,
    )


@pytest.mark.parametrize("cnn", PAIRS)
def test_any_cnn_of_timm_with_any_vit_of_timm_starts_exactly_and_then_exchanges(cnn):
    net = timm_pair(cnn)
    randomize(net.cnn)
    images = torch.randn(2, 3, 70, 101)
    assert_starts_exactly(net, images)
    net.eval()
    with torch.no_grad():
        before = net(images)
        after = open_exchanges(net)(images)
    assert len(net.exchanges) == min((len(net.cnn.blocks) - 1) // 2, 2)
    assert apart(before.tokens, after.tokens)
    assert apart(before.maps[-1], after.maps[-1])
    assert net.out_channels == tuple(feat.size(1) for feat in after.maps)


@pytest.mark.parametrize("cnn", ["resnet10t", "mobilenetv4_conv_small", "mobilenetv3_small_050"])
def test_every_parameter_of_a_pair_of_timm_learns_and_a_copy_is_its_own(cnn):
    net = open_exchanges(timm_pair(cnn))
    randomize(net.cnn)
    net.train()
    twin = copy.deepcopy(net)
    out = net(torch.randn(2, 3, 64, 80))
    (out.tokens.square().mean() + sum(feat.square().mean() for feat in out.maps)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
    for parameter in net.parameters():
        parameter.data.zero_()
    for mode in (net, twin):
        mode.eval()
    with torch.no_grad():
        assert twin(torch.randn(1, 3, 64, 64)).maps[-1].abs().sum() > 0
        assert net(torch.randn(1, 3, 64, 64)).maps[-1].abs().sum() == 0


def test_two_normalisations_start_exactly():
    """A CNN of ImageNet's means, a ViT of 0.5: each sees the pixels as its library shows them."""
    pixels = torch.randint(0, 256, (2, 3, 48, 64)).double()
    vit = dict(type="robustnet_mm.ViTTower", model_name="vit_tiny_patch16_224", model_args=SMALL)
    cnn = dict(type="robustnet_mm.TimmCNNTower", model_name="resnet10t")
    half = dict(mean=[127.5] * 3, std=[127.5] * 3)
    raw = dict(mean=[0.0] * 3, std=[1.0] * 3)
    towers = None
    for done in (None, half, raw):
        net = RobustNet(cnn=cnn, vit=vit, data_norm=done).eval()
        towers = towers or net.state_dict()
        net.load_state_dict(towers)
        assert net.vit.input_norm["mean"] == (127.5,) * 3
        assert net.cnn.input_norm["mean"] == (123.675, 116.28, 103.53)
        shown = normalised(pixels, done or net.cnn.input_norm)
        with torch.no_grad():
            out = net(shown)
            expected = net.vit.model.forward_features(normalised(pixels, half))
            feat = normalised(pixels, net.cnn.input_norm)
            for name in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4"):
                feat = getattr(net.cnn.model, name)(feat)
        close(out.tokens, expected, net.vit)
        close(out.maps[-1], feat, net.cnn)
        assert done is not None or torch.equal(out.maps[-1], feat)  # nothing to convert
        assert done is not half or torch.equal(out.tokens, expected)


def normalised(pixels, norm):
    mean, std = (torch.tensor(norm[key]).view(3, 1, 1) for key in ("mean", "std"))
    return ((pixels - mean) / std).float()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("arch", ["nano", "tiny-patch16"])
@pytest.mark.parametrize("weave", ["paper", "even", [(0, 0), (4, 3)]])
def test_each_direction_and_weave_starts_exactly(arch, direction, weave):
    net = RobustNet(arch, direction=direction, weave=weave)
    assert_starts_exactly(net, torch.randn(2, 3, 97, 130))


def test_the_exact_start_holds_under_bf16_autocast():
    net = RobustNet("nano")
    with torch.autocast("cpu", torch.bfloat16):
        assert_starts_exactly(net, torch.randn(2, 3, 64, 96))


@pytest.mark.parametrize("arch", ["nano", "tiny-patch16"])
def test_ungated_units_do_not_start_exactly(arch):
    """The control of the tests above: the original's units disturb both towers."""
    net, images = RobustNet(arch, form="ungated").eval(), torch.randn(2, 3, 64, 64)
    waken(net.cnn)
    maps, tokens, _ = alone(net, images)
    out = woven(net, images)
    assert apart(out.tokens, tokens)
    assert apart(out.maps[-1], maps[-1])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_open_exchanges_let_information_flow_in_the_named_directions_only(direction):
    net = open_exchanges(RobustNet("nano", direction=direction)).eval()
    images = torch.randn(1, 3, 64, 64)
    maps, tokens, _ = alone(net, images)
    out = woven(net, images)
    assert torch.equal(out.tokens, tokens) == (direction in ("vit_to_cnn", "none"))
    assert torch.equal(out.maps[-1], maps[-1]) == (direction in ("cnn_to_vit", "none"))


def test_exchanges_happen_at_their_blocks():
    """Squeeze from unit u into block v; expand into unit u + 1: seen by what each receives."""
    net = open_exchanges(RobustNet("nano", weave=[(2, 1), (5, 3)])).eval()
    seen = {}

    def watch(name, module):
        module.register_forward_hook(lambda m, args, out: seen.__setitem__(name, (args, out)))

    for k, fiu in enumerate(net.fius):
        watch(f"squeeze{k}", fiu.squeeze)
        watch(f"expand{k}", fiu.expand)
    for u, block in enumerate(net.cnn.blocks):
        watch(f"cnn{u}", block)
    for v, block in enumerate(net.vit.blocks):
        watch(f"vit{v}", block)
    net(torch.randn(1, 3, 64, 64))
    for k, (u, v) in enumerate(net.exchanges):
        assert seen[f"squeeze{k}"][0][0] is seen[f"cnn{u}"][1][1]
        added = seen[f"squeeze{k}"][1]
        received, before = seen[f"vit{v}"][0][0], seen[f"vit{v - 1}"][1]
        close(received[:, 1:], before[:, 1:] + added)
        assert seen[f"expand{k}"][0][0] is seen[f"vit{v}"][1]
        assert seen[f"cnn{u + 1}"][0][1] is seen[f"expand{k}"][1]
    guided = {u + 1 for u, _ in net.exchanges}
    assert all(seen[f"cnn{u}"][0][1] is None for u in range(8) if u not in guided)


@pytest.mark.parametrize(
    "size", [(16, 16), (17, 33), (64, 48), (97, 1), (225, 190), (32, 640), (300, 300)]
)
@pytest.mark.parametrize("config", [dict(arch="nano"), PATCH14], ids=["patch16", "patch14"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_size_gives_finite_outputs_on_the_images_grid(size, config, dtype):
    net = open_exchanges(RobustNet(**config)).train()
    images = torch.randn(2, 3, *size)
    with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
        if min(size) < net.vit.patch_size[0]:
            with pytest.raises(ValueError, match="at least one patch"):
                net(images)
            return
        out = net(images)
    patch = net.vit.patch_size[0]
    assert out.grid == (-(-size[0] // patch), -(-size[1] // patch))
    assert out.tokens.shape == (2, 1 + out.grid[0] * out.grid[1], net.embed_dims)
    strides, sizes = net.out_strides, [feat.shape[-2:] for feat in out.maps]
    assert sizes == [(-(-size[0] // s), -(-size[1] // s)) for s in strides]
    assert all(x.isfinite().all() for x in (*out.maps, out.tokens))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_exact_start_holds_on_cuda():
    torch.backends.cudnn.deterministic = True
    net = RobustNet("nano").cuda()
    assert_starts_exactly(net, torch.randn(2, 3, 97, 130, device="cuda"))


WAYS = ["cnn_to_vit", "both", "vit_to_cnn"]


def test_each_exchange_can_have_a_direction_of_its_own(tmp_path):
    net = RobustNet("nano", direction=WAYS)
    assert [fiu.squeeze is not None for fiu in net.fius] == [True, True, False]
    assert [fiu.expand is not None for fiu in net.fius] == [False, True, True]
    images = torch.randn(2, 3, 64, 96)
    exact, (maps, tokens, _) = RobustNet("nano", direction="none"), net(images)
    exact.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("fius")})
    found = exact(images)
    assert torch.equal(found.tokens, tokens) and torch.equal(found.maps[-1], maps[-1])
    both = open_exchanges(RobustNet("nano"))
    torch.save(both.state_dict(), tmp_path / "both.pth")
    init = dict(type="robustnet_mm.PretrainedTower", checkpoint=str(tmp_path / "both.pth"))
    net = RobustNet("nano", direction=WAYS, init_cfg=init)
    net.init_weights()
    assert all(torch.equal(both.state_dict()[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    "form, fuse", [("zero_linear", "sum"), ("gated", "attention"), ("tokens", "sum")]
)
def test_detached_exchanges_are_read_and_train_no_tower_but_the_reader(form, fuse):
    kind = dict(arch="nano", form=form, fuse=fuse)
    net = open_exchanges(RobustNet(**kind, detach_exchanges=True))
    images = torch.randn(2, 3, 64, 64)
    for read, other in (("maps", "vit"), ("tokens", "cnn")):
        net.zero_grad()
        out = net(images)
        (out.tokens if read == "tokens" else out.maps[-1]).square().mean().backward()
        assert all(p.grad is None for p in getattr(net, other).parameters())
        side = "squeeze" if read == "tokens" else "expand"
        grads = [p.grad for n, p in net.fius.named_parameters() if f".{side}." in n]
        assert any(grad is not None and grad.any() for grad in grads)
    free = RobustNet(**kind)
    free.load_state_dict(net.state_dict())
    assert torch.equal(free.eval()(images).tokens, net.eval()(images).tokens)  # gradients differ


@pytest.mark.parametrize("direction", ["both", "vit_to_cnn"])
def test_a_pyramid_is_a_tuple_of_maps_and_every_parameter_reaches_it(direction):
    net = open_exchanges(
        RobustNet("nano", direction=direction, weave=[(1, 0), (3, 2)], out_type="pyramid")
    )
    maps = net(torch.randn(2, 3, 64, 64))
    assert type(maps) is tuple and tuple(m.size(1) for m in maps) == net.out_channels
    assert len(net.vit.blocks) == 3  # block 3 could not reach the maps
    sum(m.square().mean() for m in maps).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("direction", ["none", "cnn_to_vit", ["both", "both", "cnn_to_vit"]])
def test_a_pyramid_that_leaves_the_vit_without_use_is_refused(direction):
    with pytest.raises(ValueError, match="leaves the end of the ViT without use"):
        RobustNet("nano", direction=direction, out_type="pyramid")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_parameter_of_the_towers_output_gets_a_gradient(direction):
    net = open_exchanges(RobustNet("nano", direction=direction))
    out = net(torch.randn(2, 3, 64, 64))
    (out.maps[-1].square().mean() + out.tokens.square().mean()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "arch, channels, width, cnn, vit, total",
    [  # millions, as published: ViT with head; all
        ("small-patch16", 1024, 768, 14.3, 86.6, 103.5),
        ("large-patch16", 1536, 1024, 31.2, 304.3, 340.9),
        ("base-patch14", 1536, 1280, 31.2, 632.0, 670.0),
    ],
)
def test_the_papers_networks_have_the_papers_size(arch, channels, width, cnn, vit, total):
    with torch.device("meta"):
        net = RobustNet(arch)
        head = TwoTowerHead(1000, dict(in_channels=channels), dict(in_channels=width, pool="avg"))

    def millions(*modules):
        return round(sum(p.numel() for m in modules for p in m.parameters()) / 1e6, 1)

    assert millions(net.vit, head.vit) == vit
    assert millions(net.cnn, head.cnn) == cnn
    assert millions(net, head) == total
    assert net.out_channels == tuple(channels * r // 4 for r in (1, 2, 4, 4))


@pytest.mark.parametrize("where", ["weave", "towers", "both"])
def test_recomputing_keeps_gradients_and_statistics(where):
    config = dict(arch="nano", cnn=dict(), vit=dict(drop_path_rate=0.3), weave=[(1, 1), (4, 2)])
    plain = open_exchanges(RobustNet(**config)).train()
    if where != "weave":
        config["cnn"]["with_cp"] = config["vit"]["with_cp"] = True
    saving = RobustNet(**config, with_cp=where != "towers").train()
    saving.load_state_dict(plain.state_dict())
    for net in (plain, saving):
        out = woven(net, torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)))
        (out.maps[-1].square().mean() + out.tokens.square().mean()).backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(a, b), name


def test_recomputing_leaves_nothing_of_the_batch_on_the_blocks_of_timm():
    cnn = dict(type="robustnet_mm.TimmCNNTower", model_name="regnetx_002")
    net = RobustNet("nano", cnn=cnn, with_cp=True).train()
    net(torch.randn(2, 3, 64, 64)).maps[-1].sum().backward()
    copy.deepcopy(net)  # which graphs would refuse


def test_recomputing_by_exchange_stores_only_what_passes_between_the_exchanges():
    """Between the forward and the backward pass: inputs of the steps, not what happens inside."""

    def stored(with_cp):
        net, seen = open_exchanges(RobustNet("nano", with_cp=with_cp)).train(), {}
        weights = {p.untyped_storage().data_ptr() for p in net.parameters()}

        def pack(x):
            storage = x.untyped_storage()
            if storage.data_ptr() not in weights:
                seen[storage.data_ptr()] = storage.nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            out = net(torch.randn(2, 3, 128, 128))
        del out
        return sum(seen.values())

    assert stored(True) < 0.45 * stored(False)


def test_a_pyramid_with_a_frozen_vit_trains():
    weave, frozen = [(1, 1), (3, 2)], dict(frozen_stages=4)
    net = RobustNet("nano", vit=frozen, weave=weave, out_type="pyramid").train()
    assert len(net.vit.blocks) == 3
    assert not any(parameter.requires_grad for parameter in net.vit.parameters())


def test_towers_that_cannot_meet_are_refused_with_the_dimension():
    message = r"weave='paper': 3 and 2\), the CNN has 8 and the ViT 1: .*weave=\[\(0, 0\)\]"
    with pytest.raises(ValueError, match=message):
        RobustNet("nano", vit=dict(model_args=dict(depth=1)))
    assert len(RobustNet("nano", vit=dict(model_args=dict(depth=1)), weave=[(0, 0)]).fius) == 1
    with pytest.raises(ValueError, match="in_chans of .* must be 3.*same RGB images, got 1"):
        RobustNet("nano", vit=dict(model_args=dict(in_chans=1)))


def test_freezing_each_tower_is_a_key_of_its_config():
    net = RobustNet("nano", cnn=dict(frozen_stages=4), vit=dict(frozen_stages=4)).train()
    free = {n.split(".")[0] for n, p in net.named_parameters() if p.requires_grad}
    assert free == {"fius"}
    assert not net.cnn.blocks[0].training and not net.vit.blocks[0].training
    assert net.train() is net and net.eval() is net


def test_arch_rows_take_changes_and_free_pairs_are_built_by_name():
    net = RobustNet("nano", cnn=dict(arch="resnet18"), vit=dict(model_args=dict(init_values=0.1)))
    assert net.out_channels == (64, 128, 256, 512) and net.embed_dims == 96
    assert len(net.vit.blocks) == 4 and hasattr(net.vit.blocks[0].ls1, "gamma")  # merged
    other = RobustNet("nano", vit=dict(model_name="vit_small_patch14_dinov2"))
    assert len(other.vit.blocks) == 12 and other.embed_dims == 384  # a name brings its own shape
    assert MODELS.build(dict(type="robustnet_mm.RobustNet", **PATCH14)).embed_dims == 48


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (
            dict(arch="smal-patch16"),
            "must be one of nano, .*got 'smal-patch16'; did you mean 'small",
        ),
        (dict(), "needs arch .* or both cnn and vit"),
        (dict(cnn=PATCH14["cnn"]), "needs arch .* or both cnn and vit"),
        (dict(arch="nano", direction="two"), "direction must be one of both, .*got 'two'"),
        (dict(arch="nano", direction=["none"] * 3), "each of direction must be .*got 'none'"),
        (dict(arch="nano", direction=["both"]), "for each of 3 exchanges, .*got 1"),
        (dict(arch="nano", detach_exchanges=True, direction="none"), "needs exchanges and, .*none"),
        (dict(arch="nano", detach_exchanges=True, out_type="pyramid"), "needs .*pyramid"),
        (dict(arch="nano", detach_exchanges=1), "detach_exchanges must be True or False, got 1"),
        (dict(arch="nano", out_type="maps"), "out_type must be one of towers, pyramid, got 'maps'"),
        (dict(arch="nano", weave=[(9, 1)]), "out of range"),
        (
            dict(arch="nano", form="soft"),
            "form must be one of zero_linear, gated, ungated, tokens, got 'soft'",
        ),
        (dict(arch="nano", drop_exchange=1.0), r"drop_exchange must be in \[0, 1\), got 1.0"),
        (
            dict(cnn=dict(type="robustnet_mm.ConvTowr"), vit=PATCH14["vit"]),
            "cnn.type must be a registered tower such as .*got 'robustnet_mm.ConvTowr'",
        ),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RobustNet(**kwargs)


def test_layer_depth_is_each_towers_own():
    net = RobustNet("nano")
    assert net.get_layer_depth("backbone.cnn.blocks.7.conv1.weight", "backbone.") == (8, 10)
    assert net.get_layer_depth("backbone.vit.model.blocks.3.norm1.bias", "backbone.") == (4, 6)
    depth, num_layers = net.get_layer_depth("fius.0.squeeze.proj.weight")
    assert depth == num_layers - 1
