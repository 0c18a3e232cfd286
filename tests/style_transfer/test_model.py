import pytest
import torch
import torch.nn.functional as F
from helpers import apart, close, open_exchanges
from mmengine.optim import build_optim_wrapper

from robustnet_mm.models import TowerOutputs
from robustnet_mm.models.towers.normalize import IMAGENET_NORM
from robustnet_mm.registry import MODELS
from robustnet_mm.style_transfer.discriminator import discriminator_losses

NANO = dict(type="robustnet_mm.RobustNet", arch="nano")
LOSS = dict(
    type="robustnet_mm.PerceptualLoss",
    network=dict(type="robustnet_mm.VGGFeatures", arch="vgg16", checkpoint="random"),
    content_layers=["relu2_1"],
    style_layers=["relu1_1", "relu2_1"],
)
PREPROCESSOR = dict(
    type="robustnet_mm.StylePreprocessor", mean=[0] * 3, std=[255] * 3, bgr_to_rgb=True
)


def model_of(backbone=NANO, **kwargs):
    settings = dict(backbone=backbone, width=64, data_preprocessor=PREPROCESSOR) | kwargs
    model = MODELS.build(dict(type="robustnet_mm.RobustStyleTransfer", **settings))
    open_exchanges(model.backbone)
    return model.eval()


def batch(*sizes):
    pictures = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    return dict(inputs=dict(content=pictures, style=[p.flip(0) for p in pictures[::-1]]))


CONTENT, STYLE = torch.rand(1, 3, 51, 74), torch.rand(1, 3, 33, 90)


@pytest.mark.parametrize("transfer", ["attention", "adain"])
@pytest.mark.parametrize("stride", [4, 8])
def test_the_result_has_the_contents_size_to_the_pixel(transfer, stride):
    model = model_of(transfer=transfer, stride=stride)
    with torch.no_grad():
        out = model.stylize(CONTENT, [STYLE])
        assert out.shape == CONTENT.shape
        assert apart(out, model.stylize(CONTENT, [STYLE.flip(1)]))


@pytest.mark.parametrize("transfer", ["attention", "adain"])
def test_alpha_0_is_the_reconstruction_and_hears_no_style(transfer):
    model = model_of(transfer=transfer)
    with torch.no_grad():
        padded = F.pad(CONTENT, (0, -74 % 8, 0, -51 % 8), mode="reflect")
        content = model.reader(model.backbone(padded), "both", (7, 10))
        expected = model.decoder(content)[..., :51, :74]
        assert torch.equal(model.stylize(CONTENT, [STYLE], alpha=0), expected)
        half, full = (model.stylize(CONTENT, [STYLE], alpha=a) for a in (0.5, 1))
    assert apart(half, expected) and apart(half, full)


def test_adain_of_a_picture_with_itself_is_its_reconstruction():
    model = model_of(transfer="adain")
    with torch.no_grad():
        whole = model.stylize(CONTENT, [CONTENT])
        close(whole, model.stylize(CONTENT, [CONTENT], alpha=0), model)


def test_shares_of_one_are_that_style_alone():
    model = model_of(transfer="adain")
    with torch.no_grad():
        alone = model.stylize(CONTENT, [STYLE])
        styles = [STYLE, STYLE.flip(1)]
        close(model.stylize(CONTENT, styles, shares=[2.0, 0.0]), alone, model)
        assert apart(model.stylize(CONTENT, styles), alone)


@pytest.mark.parametrize("content_from", ["cnn", "vit", "both"])
@pytest.mark.parametrize("style_from", ["cnn", "vit", "both"])
def test_gradients_reach_every_trainable_parameter_and_none_of_the_loss_network(
    content_from, style_from
):
    model = model_of(content_from=content_from, style_from=style_from, loss=LOSS).train()
    losses = model(**model.data_preprocessor(batch((48, 48), (48, 48))), mode="loss")
    assert set(losses) == {
        f"loss_{name}" for name in ("content", "style", "identity_pixel", "identity_feature")
    }
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert all(p.grad is None for p in model.perceptual.network.network.parameters())
    assert not any("perceptual" in name for name in model.state_dict())


@pytest.mark.parametrize(
    "direction, source, unread",
    [
        ("none", "cnn", "backbone.vit.blocks.0."),
        ("none", "vit", "backbone.cnn.blocks.0."),
        ("both", "vit", "backbone.cnn.blocks.7."),
    ],
)
def test_what_nothing_reads_is_not_trained(direction, source, unread):
    model = model_of(dict(NANO, direction=direction), content_from=source, style_from=source)
    named = dict(model.named_parameters())
    found = [p for n, p in named.items() if n.replace(".model.", ".").startswith(unread)]
    assert found and not any(p.requires_grad for p in found)
    assert any(p.requires_grad for n, p in named.items() if n.startswith(f"backbone.{source}."))


def test_a_frozen_backbone_stays_as_it_is():
    towers = dict(cnn=dict(frozen_stages=4), vit=dict(frozen_stages=4))
    model = model_of(dict(NANO, direction="none", **towers), loss=LOSS).train()
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert any(p.requires_grad for p in model.reader.parameters())


def test_predictions_are_pictures_of_each_contents_size():
    model = model_of()
    data = model.data_preprocessor(batch((40, 64), (56, 48)))
    with torch.no_grad():
        samples = model(**data, mode="predict")
    assert [tuple(sample.picture.shape) for sample in samples] == [(3, 40, 64), (3, 56, 48)]
    assert all(sample.picture.dtype == torch.uint8 for sample in samples)


def test_the_preprocessor_gives_rgb_in_0_to_1():
    data = batch((16, 16))
    blue_first = data["inputs"]["content"][0]
    out = model_of().data_preprocessor(data)["inputs"]["content"][0]
    assert torch.equal(out, blue_first.flip(0).float() / 255)


def test_the_adversarial_branch_trains_both_sides_each_by_its_optimiser():
    discriminator = dict(type="robustnet_mm.PatchDiscriminator", width=24, depth=1)
    model = model_of(loss=LOSS, discriminator=discriminator).train()
    one = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3))
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor="robustnet_mm.AdversarialConstructor",
            generator=dict(one),
            discriminator=dict(one),
        ),
    )
    groups = {n: sum(g["params"].__len__() for g in w.param_groups) for n, w in wrapper.items()}
    assert groups["discriminator"] == len(list(model.discriminator.parameters()))
    assert sum(groups.values()) == len(list(model.parameters()))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    logged = model.train_step(batch((48, 48), (48, 48)), wrapper)
    assert {"loss", "loss_adversarial", "discriminator_loss_hinge"} <= logged.keys()
    moved = {n.split(".")[0] for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"backbone", "reader", "transfer", "decoder", "discriminator"}


def test_the_penalty_is_the_squared_slope_of_the_discriminator():
    """Of a linear discriminator, whose slope is its weights."""
    weight = torch.randn(3, 8, 8)
    real, fake = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    losses = discriminator_losses(lambda x: (x * weight).sum((1, 2, 3)), real, fake, penalty=4.0)
    close(losses["loss_gradient_penalty"], 4 / 2 * weight.square().sum(), depth=192)


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(transfer="wct"), "transfer must be one of attention, adain"),
        (dict(content_from="cnns"), "did you mean 'cnn'"),
        (dict(stride=16), "stride must be 4 or 8"),
        (dict(width=48), "multiple of 32"),
        (dict(loss_weights=dict(styl=1)), "did you mean 'style'"),
        (dict(loss_weights=dict(style=-1)), "loss_weights.style must be a finite number"),
        (dict(backbone=dict(NANO, out_type="pyramid")), "out_type='towers'"),
        (dict(backbone=dict(NANO, data_norm=IMAGENET_NORM)), "for pictures in 0..1"),
        (dict(backbone=dict(NANO, vit=dict(data_norm=IMAGENET_NORM))), "for pictures in 0..1"),
        (dict(data_preprocessor=dict(PREPROCESSOR, std=[1] * 3)), "must have mean="),
        (dict(backbone=dict(type="robustnet_mm.ConvTower", arch="nano")), "must be a RobustNet"),
    ],
)
def test_settings_that_do_not_fit_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        model_of(**change)


def test_the_adversarial_branch_says_what_it_does_not_take():
    cfg = dict(constructor="robustnet_mm.AdversarialConstructor")
    one = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3))
    with pytest.raises(ValueError, match="optim_wrapper.discriminator must be a dict"):
        build_optim_wrapper(model_of(), dict(cfg, generator=one))
    parts = dict(generator=dict(one), discriminator=dict(one))
    with pytest.raises(ValueError, match="got optimizer: each part has its own"):
        build_optim_wrapper(model_of(), dict(cfg, **parts, optimizer=dict(lr=1e-3)))
    with pytest.raises(ValueError, match="needs a model with a discriminator"):
        build_optim_wrapper(model_of(), dict(cfg, **parts))


def test_patches_that_reach_beyond_the_picture_are_read_where_they_are():
    """A ViT of patch 14 has 19 patches on 256 pixels: 266. Tokens tell where their middle is."""
    vit = dict(
        type="robustnet_mm.ViTTower",
        model_name="vit_small_patch14_dinov2",
        model_args=dict(depth=2, embed_dim=48, num_heads=3),
    )
    cnn = dict(type="robustnet_mm.ConvTower", arch="nano")
    reader = model_of(dict(type=NANO["type"], cnn=cnn, vit=vit, weave=[(0, 0)])).reader
    reader.vit = torch.nn.Identity()
    middles = 14 * (torch.arange(19.0) + 0.5)
    tokens = middles.repeat(19)[None, :, None]
    found = reader(TowerOutputs((), tokens, (19, 19)), "vit", (32, 32))[0, 0, 5]
    inside = slice(1, 31)  # at the border a resize repeats the outermost patch
    expected = 8 * (torch.arange(32.0) + 0.5)
    assert (found - expected)[inside].abs().max() < 2


def test_what_cannot_be_painted_is_named():
    model = model_of()
    small = torch.rand(1, 3, 15, 40)
    with pytest.raises(ValueError, match="style must have 16 pixels.*got 15 x 40"):
        model.stylize(CONTENT, [small])
    with pytest.raises(ValueError, match=r"alpha must be in 0\.\.1, got 1\.5"):
        model.stylize(CONTENT, [STYLE], alpha=1.5)
    with pytest.raises(ValueError, match="shares must be 1 numbers"):
        model.stylize(CONTENT, [STYLE], shares=[1.0, 1.0])
    with pytest.raises(ValueError, match="one size"):
        model_of(loss=LOSS)(**model.data_preprocessor(batch((48, 48), (32, 48))), mode="loss")
