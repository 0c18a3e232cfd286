"""At the start both heads are SegFormer's, bit for bit; then attention counts."""

import pytest
import torch
from helpers import apart
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope

pytest.importorskip("mmseg")
import robustnet_mm.segmentation  # noqa: E402, F401

NECK = dict(type="robustnet_mm.TowerNeck", in_channels=(64, 64, 128, 256), embed_dims=96)
HEADS = {
    "SegformerHead": {},
    "robustnet_mm.AttentionFusionHead": dict(num_maps=3),
    "robustnet_mm.AffinityFusionHead": {},
}
FUSED = list(HEADS)[1:]


def segmentor(head, attention=None, **kwargs):
    backbone = dict(type="robustnet_mm.RobustNet", arch="nano")
    with DefaultScope.overwrite_default_scope("mmseg"):
        built = MODELS.build(backbone)
    neck = dict(NECK, in_channels=built.out_channels, embed_dims=built.embed_dims)
    heads = built.vit.blocks[0].attn.num_heads
    settings = HEADS[head] | (dict(num_maps=heads) if "num_maps" in HEADS[head] else {}) | kwargs
    plain = head == "SegformerHead"
    with DefaultScope.overwrite_default_scope("mmseg"):
        return MODELS.build(
            ConfigDict(
                type="EncoderDecoder" if plain else "robustnet_mm.AttentiveEncoderDecoder",
                **({} if plain else dict(attention=attention)),
                backbone=backbone,
                neck=neck,
                decode_head=dict(
                    type=head,
                    in_channels=list(built.out_channels),
                    in_index=[0, 1, 2, 3],
                    channels=32,
                    num_classes=5,
                    dropout_ratio=0.1,
                    norm_cfg=dict(type="BN"),
                    loss_decode=dict(type="CrossEntropyLoss"),
                    **settings,
                ),
                train_cfg={},
                test_cfg=dict(mode="whole"),
            )
        )


def forward(model, images):
    torch.manual_seed(1)  # of the dropout
    return model.decode_head(model.extract_feat(images))


@pytest.mark.parametrize("head", FUSED)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(64, 96), (75, 50)])
def test_at_step_0_it_is_the_head_without_attention_bit_for_bit(head, training, size):
    images = torch.randn(2, 3, *size)
    plain, fused = segmentor("SegformerHead"), segmentor(head)
    found = fused.load_state_dict(plain.state_dict(), strict=False)
    assert found.missing_keys and not found.unexpected_keys
    for model in (plain, fused):
        model.train(training)
    with torch.no_grad():
        assert torch.equal(forward(fused, images), forward(plain, images))


@pytest.mark.parametrize("head", FUSED)
def test_corners_are_aligned_where_the_head_says_so(head):
    images = torch.randn(1, 3, 75, 50)
    plain, fused = (segmentor(name, align_corners=True).eval() for name in ("SegformerHead", head))
    fused.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(forward(fused, images), forward(plain, images))


@pytest.mark.parametrize("head", FUSED)
@pytest.mark.parametrize("control", [None, "uniform", "shuffled"])
def test_once_open_attention_counts_and_its_controls_differ(head, control):
    images = torch.randn(2, 3, 64, 96)
    model = segmentor(head, dict(control=control)).eval()
    whole = segmentor(head).eval()
    whole.load_state_dict(model.state_dict())
    with torch.no_grad():
        before = forward(model, images)
        for each in (model, whole):
            for parameter in each.decode_head.parameters():
                if not parameter.any():
                    torch.manual_seed(2)
                    torch.nn.init.normal_(parameter)
        after = forward(model, images)
        assert apart(after, before)
        assert apart(after, forward(whole, images)) == (control is not None)


@pytest.mark.parametrize("head", FUSED)
def test_every_parameter_gets_a_gradient_from_the_second_step_on(head):
    model, images = segmentor(head).train(), torch.randn(2, 3, 64, 96)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    forward(model, images).square().mean().backward()
    without = [name for name, p in model.named_parameters() if not p.grad.any()]
    # a shift of all keys, and one that BatchNorm takes away, change nothing
    assert not [name for name in without if "qkv.bias" not in name and ".bn" not in name], without


def test_slide_inference_sees_each_window(tmp_path):
    model = segmentor("robustnet_mm.AffinityFusionHead").eval()
    model.test_cfg = ConfigDict(mode="slide", crop_size=(64, 64), stride=(48, 48))
    meta = [dict(ori_shape=(96, 128), img_shape=(96, 128), pad_shape=(96, 128))]
    with torch.no_grad():
        found = model.inference(torch.randn(1, 3, 96, 128), meta)
    assert found.shape == (1, 5, 96, 128)


def test_what_does_not_fit_is_said():
    images = torch.randn(1, 3, 64, 64)
    model = segmentor("robustnet_mm.AttentionFusionHead", num_maps=7).eval()
    with pytest.raises(ValueError, match="num_maps of AttentionFusionHead must be"):
        forward(model, images)
    with pytest.raises(ValueError, match="reads attention, got maps only: set model.type"):
        model.decode_head(model.extract_feat(images)[:-1])
