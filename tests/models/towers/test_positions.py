"""Padding that makes a batch: the tokens of an image do not depend on its neighbours."""

import pytest
import torch
import torch.nn.functional as F
from helpers import FAMILIES, ROOT, apart, close, open_exchanges

from robustnet_mm.models import RobustNet, SizedDataPreprocessor, ViTTower
from robustnet_mm.registry import MODELS

WITHOUT_BEIT = [name for name in FAMILIES if "beit" not in name]


def assert_alone_and_in_a_batch_are_equal(tower, images):
    sizes = [tuple(image.shape[-2:]) for image in images]
    height, width = (max(side) + 16 for side in zip(*sizes, strict=True))
    padded = [F.pad(x, (0, width - x.size(-1), 0, height - x.size(-2)), value=9.0) for x in images]
    tokens, (h, w) = tower(torch.cat(padded), sizes)
    prefix = tower.num_prefix_tokens
    for index, image in enumerate(images):
        expected, (own_h, own_w) = tower(image)
        got = tokens[index, prefix:].unflatten(0, (h, w))[:own_h, :own_w].flatten(0, 1)
        close(got, expected[0, prefix:], tower)
        close(tokens[index, :prefix], expected[0, :prefix], tower)
    assert tokens.isfinite().all()
    assert apart(tower(torch.cat(padded))[0], tokens)


@pytest.mark.parametrize("window_size", [None, 2])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", WITHOUT_BEIT)
def test_tokens_are_those_of_the_image_alone(name, grad, window_size):
    blocks = () if window_size is None else (1,)
    tower = ViTTower(name, FAMILIES[name][0] | dict(depth=2), 0.0, window_size, blocks).eval()
    for key, parameter in tower.named_parameters():
        if "gamma" in key:
            torch.nn.init.constant_(parameter, 0.5)
    images = [torch.randn(1, 3, *size) for size in ((64, 96), (80, 70), (33, 100))]
    with torch.set_grad_enabled(grad):
        assert_alone_and_in_a_batch_are_equal(tower, images)


def test_every_weight_learns_from_a_padded_batch():
    net = open_exchanges(RobustNet("nano", vit=dict(window_size=2, global_blocks=(3,)))).train()
    net(torch.randn(2, 3, 64, 96), sizes=[(64, 96), (40, 30)]).tokens.square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.vit.parameters())


def test_sizes_of_unpadded_images_change_nothing():
    net, images = open_exchanges(RobustNet("nano")).eval(), torch.randn(2, 3, 64, 96)
    assert torch.equal(net(images, sizes=[(64, 96)] * 2).tokens, net(images).tokens)


@pytest.mark.parametrize("sizes", [[(64, 96)], [(64, 96), (65, 96)], [(64, 96), (64, 97)]])
def test_sizes_that_do_not_fit_are_named(sizes):
    with pytest.raises(ValueError, match="each of 2 images within 64 x 96, got"):
        RobustNet("nano")(torch.randn(2, 3, 64, 96), sizes=sizes)


def test_beit_says_that_it_cannot_leave_out_padding():
    tower = ViTTower("beitv2_base_patch16_224", dict(depth=1, embed_dim=48, num_heads=3))
    with pytest.raises(ValueError, match="not for BEiT"):
        tower(torch.randn(1, 3, 32, 48), sizes=[(32, 32)])


def test_a_detector_passes_the_sizes_on():
    """Through mmdet's own Mask R-CNN, whose preprocessor pads the batch."""
    from mmdet.utils import register_all_modules
    from mmengine.config import Config

    register_all_modules(init_default_scope=True)
    config = ROOT / "configs/digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py"
    cfg = Config.fromfile(config).model
    cfg.data_preprocessor = dict(
        type="robustnet_mm.SizedDataPreprocessor", preprocessor=cfg.data_preprocessor
    )
    cfg.backbone.init_cfg = None
    model = MODELS.build(cfg).eval()
    seen = []
    model.backbone.register_forward_hook(lambda module, args, out: seen.append(out))
    images = [
        torch.randint(0, 255, (3, *size), dtype=torch.uint8) for size in ((96, 64), (70, 130))
    ]
    samples = [sample_of(image) for image in images]
    for batch in ((0, 1), (0,), (1,)):
        inputs = dict(inputs=[images[i] for i in batch], data_samples=[samples[i] for i in batch])
        with torch.no_grad():
            model.test_step(inputs)
    assert seen[0].grid != seen[1].grid
    for index, alone in ((0, seen[1]), (1, seen[2])):
        height, width = (-(-side // 16) for side in images[index].shape[-2:])
        got, expected = (
            out.tokens[i, 1:].unflatten(0, out.grid)[:height, :width]
            for out, i in ((seen[0], index), (alone, 0))
        )
        close(got, expected, model.backbone)


def sample_of(image):
    from mmdet.structures import DetDataSample

    shape = tuple(image.shape[-2:])
    return DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0)))


def test_samples_that_do_not_say_their_size_are_passed_without():
    from mmdet.structures import DetDataSample

    model = SizedDataPreprocessor(dict(type="mmdet.DetDataPreprocessor", pad_size_divisor=32))
    image = torch.zeros(3, 40, 50, dtype=torch.uint8)
    sized, unsized = sample_of(image), DetDataSample()
    assert model(dict(inputs=[image], data_samples=[sized]))["inputs"].image_sizes == ((40, 50),)
    for samples in ([unsized], None):
        data = model(dict(inputs=[image], data_samples=samples))
        assert not hasattr(data["inputs"], "image_sizes")
