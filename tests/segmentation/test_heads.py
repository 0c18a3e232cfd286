"""At the start both heads are SegFormer's, bit for bit; then attention counts."""

import pytest
import torch
from helpers import apart
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope

pytest.importorskip("mmseg")
from mmengine.structures import PixelData  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402

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


def swin(head, **kwargs):
    """A Swin of two stages under a head, which reads the shifted block of the first one."""
    fused = dict(attention=dict(blocks=[1], asked="received"), **kwargs)
    with DefaultScope.overwrite_default_scope("mmseg"):
        return MODELS.build(
            ConfigDict(
                type="EncoderDecoder" if head == "SegformerHead" else ATTENTIVE,
                **({} if head == "SegformerHead" else fused),
                backbone=dict(
                    type="mmpretrain.SwinTransformer",
                    arch=dict(embed_dims=12, depths=[2, 2], num_heads=[2, 3]),
                    window_size=4,
                    out_indices=(0, 1),
                    pad_small_map=True,
                ),
                decode_head=dict(
                    type=head,
                    in_channels=[12, 24],
                    in_index=[0, 1],
                    channels=16,
                    num_classes=5,
                    norm_cfg=dict(type="BN"),
                    loss_decode=dict(type="CrossEntropyLoss"),
                    **(dict(num_maps=2) if "Attention" in head else {}),
                ),
                train_cfg={},
                test_cfg=dict(mode="whole"),
            )
        )


ATTENTIVE = "robustnet_mm.AttentiveEncoderDecoder"


@pytest.mark.parametrize("head", FUSED)
def test_windows_of_a_swin_start_as_the_head_without_attention_and_then_count(head):
    images = torch.randn(2, 3, 50, 75)
    plain, fused = swin("SegformerHead"), swin(head)
    fused.load_state_dict(plain.state_dict(), strict=False)
    for model in (plain, fused):
        model.eval()
    with torch.no_grad():
        before = forward(fused, images)
        assert torch.equal(before, forward(plain, images))
        for parameter in fused.decode_head.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter)
        assert apart(forward(fused, images), before)


def test_a_loss_on_the_attention_is_asked_for_and_reads_the_labels_where_classes_are_named():
    images, samples = torch.randn(2, 3, 64, 96), []
    for labels in (torch.zeros(1, 64, 96).long(), torch.full((1, 64, 96), 255)):
        labels[:, :32, :48] = 3
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels)))
    loss = dict(type="robustnet_mm.MeaningfulAttention", loss_weight=0.5)
    found = {}
    for name, settings in dict(
        none={},
        unguided=dict(attention_loss=loss),
        guided=dict(attention_loss=loss, foreground=[3]),
    ).items():
        torch.manual_seed(0)
        model = swin(FUSED[0], **settings).train()
        found[name] = model.loss(images, samples)
    assert "loss_attention" not in found["none"]
    # an untrained network looks everywhere alike: no concentration, and all heads the same
    assert float(found["unguided"]["loss_attention"]) == pytest.approx(0.5 * 2, rel=0.05)
    # a quarter of the first image is the foreground; the second knows nothing else
    quarter = 0.5 * torch.tensor(4.0).log()
    assert float(found["guided"]["loss_attention"]) == pytest.approx(float(quarter), rel=0.1)
    found["guided"]["loss_attention"].backward()


def test_a_vit_alone_needs_a_neck_and_a_woven_network_its_tokens():
    head = dict(
        type="robustnet_mm.AffinityFusionHead",
        in_channels=[16] * 4,
        in_index=[0, 1, 2, 3],
        channels=16,
        num_classes=5,
    )
    vit = dict(
        type="robustnet_mm.ViTTower",
        model_name="vit_tiny_patch16_224",
        model_args=dict(depth=2, embed_dim=48),
    )
    common = dict(type=ATTENTIVE, decode_head=head, train_cfg={}, test_cfg=dict(mode="whole"))
    neck = dict(type="robustnet_mm.SimplePyramid", embed_dims=48, out_channels=16, num_outs=4)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(ConfigDict(**common, backbone=vit, neck=neck)).eval()
        with torch.no_grad():
            assert forward(model, torch.randn(1, 3, 64, 96)).shape == (1, 5, 16, 24)
        with pytest.raises(ValueError, match="the neck of a ViTTower makes the maps, got none"):
            MODELS.build(ConfigDict(**common, backbone=vit))
        with pytest.raises(ValueError, match="foreground is for attention_loss, got"):
            MODELS.build(ConfigDict(**common, backbone=vit, neck=neck, foreground=[3]))
        loss = dict(type="robustnet_mm.MeaningfulAttention")
        settings = dict(neck=neck, attention_loss=loss, foreground=[5])
        with pytest.raises(ValueError, match="foreground must be"):
            MODELS.build(ConfigDict(**common, backbone=vit, **settings))
        woven = dict(type="robustnet_mm.RobustNet", arch="nano", out_type="pyramid")
        with pytest.raises(ValueError, match="got out_type='pyramid': set out_type='towers'"):
            MODELS.build(ConfigDict(**common, backbone=woven))
        resnet = dict(type="mmpretrain.ResNet", depth=18)
        with pytest.raises(ValueError, match="attention needs a backbone with .* got ResNet"):
            MODELS.build(ConfigDict(**common, backbone=resnet))


@pytest.mark.parametrize("out_type", ["towers", "pyramid"])
def test_mmsegs_fpn_and_its_head_stand_on_both_outputs_of_a_woven_network(out_type):
    widths, fpn = [32, 64, 128, 256], dict(type="FPN", out_channels=16, num_outs=4)
    tower_neck = dict(type="robustnet_mm.TowerNeck", in_channels=widths, embed_dims=96)
    neck = dict(fpn, in_channels=widths)
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(
            ConfigDict(
                type="EncoderDecoder",
                backbone=dict(type="robustnet_mm.RobustNet", arch="nano", out_type=out_type),
                neck=[tower_neck, neck] if out_type == "towers" else neck,
                decode_head=dict(
                    type="FPNHead",
                    in_channels=[16] * 4,
                    in_index=[0, 1, 2, 3],
                    feature_strides=[4, 8, 16, 32],
                    channels=16,
                    num_classes=5,
                    norm_cfg=dict(type="BN"),
                ),
                train_cfg={},
                test_cfg=dict(mode="whole"),
            )
        )
    found = forward(model.train(), torch.randn(2, 3, 50, 75))
    assert found.shape == (2, 5, 13, 19)
    found.square().mean().backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
