"""Each source's own network, with random weights, against a tower and head that read its file."""

import pytest
import timm
import torch
import torchvision
from helpers import but_extended, close, randomize

from robustnet_mm.models import ConvTower, TimmCNNTower, TowerOutputs, ViTTower
from robustnet_mm.models.classifiers import (
    CNNClassifier,
    TimmCNNClassifier,
    ViTClassifier,
)
from robustnet_mm.weights import PretrainedTower
from robustnet_mm.weights.convert import find_source, to_published_names
from robustnet_mm.weights.sources import SOURCES

SIZES = [(64, 64), (80, 112)]


def load(module, path):
    return PretrainedTower(str(path))(module.eval())


def assert_same_logits(cnn_or_vit, head, theirs, forward, path, sizes=SIZES):
    torch.save(theirs.state_dict(), path)
    report = load(cnn_or_vit, path)
    load(head, path)
    for size in sizes:
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            out = cnn_or_vit(images)
            vit = isinstance(cnn_or_vit, ViTTower)
            logits = head(TowerOutputs((), *out) if vit else TowerOutputs(out, None, None))
            close(logits, forward(images), cnn_or_vit)
    return report


TORCHVISION_CNNS = {
    "resnet18": ("resnet18", {}),
    "wide_resnet50_2": ("wide_resnet50_2", {}),
    "mobilenet_v2": ("mobilenetv2_100", {}),
    "mobilenet_v3_small": ("mobilenetv3_small_100", dict(bn_eps=1e-3)),
    "mobilenet_v3_large": ("mobilenetv3_large_100", dict(bn_eps=1e-3)),
    "efficientnet_b0": ("efficientnet_b0", {}),
    "efficientnet_b5": ("efficientnet_b5", dict(bn_eps=1e-3)),
    "efficientnet_v2_s": ("efficientnetv2_s", dict(bn_eps=1e-3)),
    "regnet_x_400mf": ("regnetx_004_tv", {}),
    "regnet_y_400mf": ("regnety_004", {}),
    "convnext_tiny": ("convnext_tiny", {}),
}


@pytest.mark.parametrize(
    "name",
    but_extended(TORCHVISION_CNNS, ["wide_resnet50_2", "mobilenet_v3_large", "efficientnet_b5"]),
)
def test_torchvisions_cnns(name, tmp_path):
    model_name, args = TORCHVISION_CNNS[name]
    theirs = randomize(torchvision.models.get_model(name, num_classes=10))
    tower = TimmCNNTower(model_name, args)
    tower = TimmCNNTower(model_name, args, data_norm=tower.input_norm)
    head = TimmCNNClassifier(10, model_name, args)
    report = assert_same_logits(tower, head, theirs, theirs, tmp_path / "cnn.pth")
    assert "torchvision" in report.source


@pytest.mark.parametrize("name, blocks", [("tf_efficientnet_b0", 16), ("tf_efficientnet_b3", 26)])
def test_lukemelas_efficientnets(name, blocks, tmp_path):
    """His blocks have one number through all stages; the first stage's have no expansion."""
    theirs, renamed = randomize(timm.create_model(name, num_classes=10)), {}
    first = dict(conv_dw="_depthwise_conv", bn1="_bn1", conv_pw="_project_conv", bn2="_bn2")
    later = dict(conv_pw="_expand_conv", bn1="_bn0", conv_dw="_depthwise_conv", bn2="_bn1")
    later |= dict(conv_pwl="_project_conv", bn3="_bn2")
    squeeze = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
    flat = [(s, b) for s, stage in enumerate(theirs.blocks) for b in range(len(stage))]
    outer = dict(conv_stem="_conv_stem", bn1="_bn0", conv_head="_conv_head", bn2="_bn1")
    outer["classifier"] = "_fc"
    for key, value in theirs.state_dict().items():
        part, _, end = key.rpartition(".")
        if key.startswith("blocks."):
            _, stage, block, inner = part.split(".", 3)
            names = {**(first if stage == "0" else later), **squeeze}
            part = f"_blocks.{flat.index((int(stage), int(block)))}.{names[inner]}"
        else:
            part = outer[part]
        renamed[f"{part}.{end}"] = value
    assert len(flat) == blocks and "_blocks.0._project_conv.weight" in renamed
    tower, head = TimmCNNTower(name), TimmCNNClassifier(10, name)
    tower = TimmCNNTower(name, data_norm=tower.input_norm).eval()
    torch.save(renamed, tmp_path / "cnn.pth")
    assert load(tower, tmp_path / "cnn.pth").source == "EfficientNet (lukemelas)"
    load(head, tmp_path / "cnn.pth")
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        close(head(TowerOutputs(tower(images), None, None)), theirs(images), tower)
    short = {k: v for k, v in renamed.items() if not k.startswith(f"_blocks.{blocks - 1}.")}
    torch.save(short, tmp_path / "cnn.pth")
    with pytest.raises(ValueError, match=f"the file has {blocks - 1} blocks, and EfficientNet B0"):
        load(tower, tmp_path / "cnn.pth")


def test_torchvisions_vit(tmp_path):
    from torchvision.models.vision_transformer import VisionTransformer

    shape = dict(num_layers=3, num_heads=3, hidden_dim=48, mlp_dim=192)
    theirs = randomize(VisionTransformer(image_size=64, patch_size=16, num_classes=10, **shape))
    args = dict(depth=3, embed_dim=48, num_heads=3, img_size=64)
    tower, head = ViTTower("deit_tiny_patch16_224", args), ViTClassifier(48, 10)
    assert_same_logits(tower, head, theirs, theirs, tmp_path / "vit.pth", sizes=[(64, 64)])


def mmpretrain_classifier(backbone, head):
    from mmengine.registry import DefaultScope
    from mmpretrain.models import ImageClassifier

    with DefaultScope.overwrite_default_scope("mmpretrain"):
        neck = dict(type="GlobalAveragePooling") if backbone["type"] == "ResNet" else None
        theirs = ImageClassifier(backbone=backbone, neck=neck, head=head)
    return randomize(theirs)


def test_mmpretrains_resnet(tmp_path):
    head = dict(type="LinearClsHead", num_classes=10, in_channels=2048)
    theirs = mmpretrain_classifier(dict(type="ResNet", depth=50), head)
    for tower, own in (
        (TimmCNNTower("resnet50"), TimmCNNClassifier(10, "resnet50")),
        (ConvTower("resnet50"), CNNClassifier(2048, 10)),
    ):
        assert_same_logits(tower, own, theirs, theirs, tmp_path / "cnn.pth", sizes=[(64, 80)])


def test_mmpretrains_resnet_with_a_deep_stem(tmp_path):
    head = dict(type="LinearClsHead", num_classes=10, in_channels=2048)
    theirs = mmpretrain_classifier(dict(type="ResNetV1d", depth=50), head)
    torch.save(theirs.state_dict(), tmp_path / "cnn.pth")
    tower = TimmCNNTower("resnet50d").eval()
    assert load(tower, tmp_path / "cnn.pth").source == "ResNetV1d (mmpretrain, mmdet)"
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = theirs.backbone(images)[-1]
        close(tower(images)[-1], expected, tower)


def test_mmpretrains_convnext(tmp_path):
    head = dict(type="LinearClsHead", num_classes=10, in_channels=768)
    theirs = mmpretrain_classifier(dict(type="ConvNeXt", arch="tiny"), head)
    tower, own = TimmCNNTower("convnext_tiny"), TimmCNNClassifier(10, "convnext_tiny")
    assert_same_logits(tower, own, theirs, theirs, tmp_path / "cnn.pth", sizes=[(64, 96)])


def test_mmpretrains_vit(tmp_path):
    arch = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=192)
    head = dict(type="VisionTransformerClsHead", num_classes=10, in_channels=48)
    backbone = dict(type="VisionTransformer", arch=arch, img_size=64, patch_size=16)
    theirs = mmpretrain_classifier(backbone, head)
    args = dict(depth=3, embed_dim=48, num_heads=3, img_size=64)
    tower, own = ViTTower("deit_tiny_patch16_224", args), ViTClassifier(48, 10)
    assert_same_logits(tower, own, theirs, theirs, tmp_path / "vit.pth")


def test_mmpretrains_conformer(tmp_path):
    head = dict(type="ConformerHead", num_classes=10, in_channels=[256, 384], init_cfg=None)
    theirs = mmpretrain_classifier(dict(type="Conformer", arch="tiny"), head)
    torch.save(theirs.state_dict(), tmp_path / "conformer.pth")
    tower, own = ConvTower("conformer_tiny"), CNNClassifier(256, 10)
    assert load(tower, tmp_path / "conformer.pth").source == "Conformer (mmpretrain)"
    load(own, tmp_path / "conformer.pth")
    assert torch.equal(own.fc.weight, theirs.head.conv_cls_head.weight)
    unit = theirs.backbone.conv_trans_9.cnn_block
    assert torch.equal(tower.blocks[15].downsample[0].weight, unit.residual_conv.weight)


def assert_converted_as_timm_does(weights, model, source):
    """timm's own conversion of the authors' file is the oracle."""
    import sys

    filter_fn = sys.modules[type(model).__module__].checkpoint_filter_fn
    named, unused, found = to_published_names(dict(weights))
    assert found.name == source
    expected = filter_fn(dict(weights), model)
    for key, value in model.state_dict().items():
        if "num_batches" not in key and not key.startswith(("head", "fc_norm", "norm.")):
            assert torch.equal(named[key], expected[key]), key
            assert named[key].shape == value.shape
    return named


def vit_like(name, rename, extra=(), **args):
    """A timm ViT's random weights under the authors' names."""
    model = randomize(timm.create_model(name, depth=2, **args))
    weights = {}
    for key, value in model.state_dict().items():
        for theirs, ours in rename:
            key = key.replace(ours, theirs)
        weights[key] = value
    return model, weights | dict(extra)


def test_dinov2s_own_files_with_and_without_registers():
    mask = ("mask_token", torch.zeros(1, 384))
    model, weights = vit_like("vit_small_patch14_dinov2", [], [mask])
    assert_converted_as_timm_does(weights, model, "ViT (timm, DeiT, MAE, DINO, DINOv2)")
    names = [("register_tokens", "reg_token")]
    model, weights = vit_like("vit_small_patch14_reg4_dinov2", names, [mask])
    weights["pos_embed"] = torch.randn(1, 1 + 37 * 37, 384)
    named = assert_converted_as_timm_does(weights, model, "DINOv2 with registers (authors)")
    assert named["pos_embed"].shape == model.pos_embed.shape


def test_dinov2_giants_own_file():
    args = dict(embed_dim=48, num_heads=3, mlp_ratio=4)
    names = [("mlp.w12", "mlp.fc1"), ("mlp.w3", "mlp.fc2")]
    extra = [("mask_token", torch.zeros(1, 48))]  # by which timm knows it
    model, weights = vit_like("vit_giant_patch14_dinov2", names, extra, **args)
    assert_converted_as_timm_does(weights, model, "DINOv2 giant (authors)")


@pytest.mark.parametrize("biases", [False, True])
def test_dinov3s_own_files(biases):
    names = [("storage_tokens", "reg_token"), ("ls1.gamma", "gamma_1"), ("ls2.gamma", "gamma_2")]
    name = "vit_small_patch16_dinov3_qkvb" if biases else "vit_small_patch16_dinov3"
    model, weights = vit_like(name, names, [("rope_embed.periods", torch.ones(16))])
    for block in range(2):
        stem = f"blocks.{block}.attn."
        parts = [weights.pop(f"{stem}{part}_bias", torch.zeros(384)) for part in "qv"]
        weights[f"{stem}qkv.bias"] = torch.cat([parts[0], torch.full((384,), 7.0), parts[1]])
        weights[f"{stem}qkv.bias_mask"] = torch.ones(3 * 384)
    weights["mask_token"] = torch.zeros(1, 1, 384)
    assert_converted_as_timm_does(weights, model, "DINOv3 (authors)")


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "eva02_base_patch14_224"])
def test_eva02s_own_files(name):
    names = [("mlp.w1.", "mlp.fc1_g."), ("mlp.w2.", "mlp.fc1_x."), ("mlp.w3.", "mlp.fc2.")]
    names += [("mlp.w12.", "mlp.fc1."), ("mlp.ffn_ln", "mlp.norm"), ("q_bias", "q_proj.bias")]
    extra = [("rope.freqs_cos", torch.ones(4)), ("blocks.0.attn.rope.freqs_sin", torch.ones(4))]
    names += [("v_bias", "v_proj.bias")]
    model, weights = vit_like(name, names, extra)
    split = " with separate q, k, v (authors, timm)" if "base" in name else " (authors)"
    assert_converted_as_timm_does(weights, model, f"EVA-02{split}")


def test_beits_own_files():
    extra = [("blocks.0.attn.relative_position_index", torch.zeros(197, 197))]
    args = dict(embed_dim=48, num_heads=3)
    model, weights = vit_like("beitv2_base_patch16_224", [], extra, **args)
    assert_converted_as_timm_does(weights, model, "BEiT (authors)")


@pytest.mark.parametrize("name", ["convnext_atto", "convnextv2_atto"])
def test_convnexts_own_files(name):
    model = randomize(timm.create_model(name))
    weights = {}
    for key, value in model.state_dict().items():
        key = key.replace("stem.", "downsample_layers.0.").replace(".blocks.", ".")
        key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        for stage in range(4):
            key = key.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        if "grn" in key:
            key = key.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
            value = value.view(1, 1, 1, -1)
        weights[key.replace("head.norm.", "norm.").replace("head.fc.", "head.")] = value
    named = assert_converted_as_timm_does(weights, model, "ConvNeXt (authors)")
    assert torch.equal(named["head.fc.weight"], model.head.fc.weight)


RESNET = dict(num_classes=0)


@pytest.mark.parametrize("whose", ["authors", "solo-learn", "mmpretrain"])
def test_barlow_twins_training_checkpoints_give_their_resnet(tmp_path, whose):
    theirs = randomize(timm.create_model("resnet18", **RESNET))
    inside = {f"backbone.{name}": value for name, value in theirs.state_dict().items()}
    other = torch.zeros(2, 2)
    content = {
        "authors": dict(
            epoch=3,
            optimizer={},
            model={
                **{f"module.{name}": value for name, value in inside.items()},
                "module.projector.0.weight": other,
                "module.bn.running_mean": other[0],
            },
        ),
        "solo-learn": dict(
            state_dict={**inside, "projector.0.weight": other, "classifier.weight": other}
        ),
        "mmpretrain": dict(meta={}, state_dict={**inside, "neck.fc0.weight": other}),
    }[whose]
    torch.save(content, tmp_path / "file.pth")
    tower = TimmCNNTower("resnet18", data_norm=TimmCNNTower("resnet18").input_norm)
    report = load(tower, tmp_path / "file.pth")
    assert "Barlow Twins" in report.source
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        close(tower(images)[-1], theirs.eval().forward_features(images), tower)


def test_solo_learns_vit_is_the_one_that_was_trained_and_not_its_average(tmp_path):
    theirs = randomize(timm.create_model("vit_small_patch16_224.dino", depth=2, num_classes=0))
    weights = theirs.state_dict()
    content = {f"backbone.{name}": value for name, value in weights.items()}
    content |= {f"momentum_backbone.{name}": value + 1 for name, value in weights.items()}
    content |= {"head.mlp.0.weight": torch.zeros(2, 2), "classifier.bias": torch.zeros(2)}
    torch.save(dict(state_dict=content), tmp_path / "file.pth")
    tower = ViTTower("vit_small_patch16_224.dino", dict(depth=2))
    load(tower, tmp_path / "file.pth")
    key = "blocks.1.attn.qkv.weight"
    assert torch.equal(tower.model.state_dict()[key], weights[key])


def test_dinos_training_checkpoint_gives_its_teacher(tmp_path):
    theirs = randomize(timm.create_model("vit_small_patch16_224.dino", depth=2, num_classes=0))
    weights = theirs.state_dict()
    teacher = {f"backbone.{k}": v for k, v in weights.items()} | {
        "head.mlp.0.weight": torch.ones(1)
    }
    student = {f"module.{k}": torch.zeros_like(v) for k, v in teacher.items()}
    torch.save({"student": student, "teacher": teacher, "epoch": 3}, tmp_path / "dino.pth")
    tower = ViTTower("vit_small_patch16_224.dino", dict(depth=2))
    report = load(tower, tmp_path / "dino.pth")
    assert "DINO" in report.source and "head.mlp.0.weight" in report.unused
    assert torch.equal(tower.model.blocks[1].mlp.fc2.weight, theirs.blocks[1].mlp.fc2.weight)


def test_every_source_has_its_own_tell():
    assert len({source.tell for source in SOURCES}) == len(SOURCES)
    assert find_source({"some.other.weight": torch.ones(1)}) is None
