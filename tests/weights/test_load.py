import argparse
import contextlib
import os
import pickle

import pytest
import timm
import torch
import torchvision
from helpers import SMALL, apart, close
from mmengine.runner import save_checkpoint
from safetensors.torch import save_file

from robustnet_mm.models import (
    ConvTower,
    RobustNet,
    TimmCNNTower,
    TowerOutputs,
    TwoTowerHead,
    ViTTower,
)
from robustnet_mm.models.towers.normalize import IMAGENET_NORM
from robustnet_mm.weights import PretrainedTower, load_into
from robustnet_mm.weights.files import find_state_dict, read_checkpoint

VIT = "deit_tiny_patch16_224"


def load(module, path, **kwargs):
    return PretrainedTower(str(path), **kwargs)(module)


def small_head(classes=1000, pool="token"):
    return TwoTowerHead(classes, dict(in_channels=512), dict(in_channels=48, pool=pool)).eval()


def timm_vit(**kwargs):
    return timm.create_model(VIT, **SMALL, **kwargs).eval()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"model": w, "epoch": 3},
        lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}},
        lambda w: {"model": w, "args": argparse.Namespace(lr=0.1)},
    ],
)
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_published_vit_gives_its_own_logits_through_tower_and_head(tmp_path, wrap, pool):
    theirs = timm_vit(global_pool=pool)
    torch.save(wrap(theirs.state_dict()), tmp_path / "vit.pth")
    tower, head = ViTTower(VIT, model_args=SMALL).eval(), small_head(pool=pool)
    report = load(tower, tmp_path / "vit.pth")
    load(head.vit, tmp_path / "vit.pth")
    assert not report.missing and not report.resized and report.unused  # the head's keys
    images = torch.randn(2, 3, 224, 224)
    assert torch.equal(head.vit(TowerOutputs((), *tower(images))), theirs(images))


def test_a_norm_before_the_pooling_is_not_taken_for_one_after_it(tmp_path):
    theirs = timm_vit(global_pool="avg", fc_norm=False)
    torch.save(theirs.state_dict(), tmp_path / "gap.pth")
    tower, head = ViTTower(VIT, model_args=SMALL).eval(), small_head(pool="avg")
    assert_untouched(
        head.vit,
        tmp_path / "gap.pth",
        "2 keys are not those of a ViT for ViTClassifier: norm.bias, .*pools in another way",
    )
    first = dict(in_channels=48, pool="avg", norm_first=True)
    head = TwoTowerHead(1000, dict(in_channels=512), first).eval()
    load(tower, tmp_path / "gap.pth")
    load(head.vit, tmp_path / "gap.pth")
    images = torch.randn(2, 3, 224, 224)
    assert torch.equal(head.vit(TowerOutputs((), *tower(images))), theirs(images))


def test_safetensors_load_the_same(tmp_path):
    theirs = timm_vit()
    save_file(theirs.state_dict(), tmp_path / "vit.safetensors")
    tower = ViTTower(VIT, model_args=SMALL)
    load(tower, tmp_path / "vit.safetensors")
    assert torch.equal(tower.model.pos_embed, theirs.pos_embed)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_a_torchvision_resnet_gives_its_own_logits_through_tower_and_head(tmp_path, name):
    theirs = torchvision.models.get_model(name).eval()
    torch.save(theirs.state_dict(), tmp_path / "cnn.pth")
    tower = ConvTower(name).eval()
    head = TwoTowerHead(1000, dict(in_channels=tower.out_channels[-1]), dict(in_channels=48))
    load(tower, tmp_path / "cnn.pth")
    load(head.cnn, tmp_path / "cnn.pth")
    images = torch.randn(1, 3, 96, 64)
    assert torch.equal(head.cnn(TowerOutputs(tower(images), None, None)), theirs(images))


def test_conformers_conv_branch_loads_and_computes_what_its_units_compute(tmp_path):
    """mmpretrain's Conformer has the authors' key names; its units are run without fusion."""
    from mmpretrain.models import Conformer

    theirs = Conformer("tiny")
    theirs.eval()  # gives None
    for buffer in theirs.buffers():
        if buffer.is_floating_point():
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    torch.save(theirs.state_dict(), tmp_path / "conformer.pth")
    ours = ConvTower("conformer_tiny").eval()
    load(ours, tmp_path / "conformer.pth")
    images = torch.randn(1, 3, 64, 64)
    x = theirs.maxpool(theirs.act1(theirs.bn1(theirs.conv1(images))))
    x = theirs.conv_1(x, out_conv2=False)
    expected = []
    for i in range(2, 13):
        block = getattr(theirs, f"conv_trans_{i}")
        x = block.fusion_block(block.cnn_block(x, out_conv2=False), out_conv2=False)
        if i in (4, 8, 11, 12):
            expected.append(x)
    assert all(torch.equal(a, b) for a, b in zip(ours(images), expected, strict=True))


def test_position_tables_are_resized_and_reported(tmp_path):
    theirs = timm_vit(img_size=96)
    columns = torch.arange(6.0).repeat(6)  # of the 6 x 6 patches, row by row
    theirs.pos_embed.data[0, 1:] = columns[:, None]
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    tower = ViTTower(VIT, model_args=SMALL)
    report = load(tower, tmp_path / "vit.pth")
    assert report.resized == ["model.pos_embed (1, 37, 48) -> (1, 197, 48)"]
    table = tower.model.pos_embed
    assert torch.equal(table[:, :1], theirs.pos_embed[:, :1])
    grown = table[0, 1:].unflatten(0, (14, 14))
    close(grown, grown[:1, :, :1].expand_as(grown))  # rows and channels stay alike
    middle = (torch.arange(14) + 0.5) * 6 / 14 - 0.5  # where the new columns lie among the old
    close(grown[0, 4:10, 0], middle[4:10])


def test_a_classifiers_checkpoint_starts_a_detectors_backbone(tmp_path):
    source = RobustNet("nano")
    weights = {
        f"backbone.{k}": torch.randn_like(v.float()).to(v.dtype)
        for k, v in source.state_dict().items()
    }
    weights |= {"head.cnn.fc.weight": torch.zeros(3)}
    save_checkpoint({"state_dict": weights, "meta": {}}, str(tmp_path / "classifier.pth"))
    init = dict(
        type="robustnet_mm.PretrainedTower",
        checkpoint=str(tmp_path / "classifier.pth"),
        prefix="backbone.",
    )
    for out_type in ("towers", "pyramid"):
        net = RobustNet("nano", weave=[(1, 1), (3, 2), (5, 3)], out_type=out_type, init_cfg=init)
        net.init_weights()
        for key, value in net.state_dict().items():
            assert torch.equal(value, weights[f"backbone.{key}"]), key
    short = RobustNet("nano", weave=[(1, 1), (3, 2)], out_type="pyramid")
    with pytest.raises(ValueError, match="left over: fius.2"):
        load(short, tmp_path / "classifier.pth", prefix="backbone.")
    tower = ViTTower(VIT, dict(depth=4, embed_dim=96, num_heads=3))
    load(tower, tmp_path / "classifier.pth", prefix="backbone.vit.")
    assert torch.equal(tower.model.pos_embed, weights["backbone.vit.model.pos_embed"])


def test_blocks_dropped_from_a_pyramid_are_no_leftovers(tmp_path):
    torch.save(RobustNet("nano", weave=[(1, 1)]).state_dict(), tmp_path / "net.pth")
    short = RobustNet("nano", weave=[(1, 1)], out_type="pyramid")
    report = load(short, tmp_path / "net.pth")
    assert report.unused and all(".blocks.2." in k or ".blocks.3." in k for k in report.unused)


def test_allow_missing_is_the_only_way_past_a_missing_key(tmp_path):
    torch.save(RobustNet("nano", direction="none").state_dict(), tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"\d+ missing: fius.0"):
        load(RobustNet("nano"), tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"\d+ missing: fius.0"):
        load(RobustNet("nano"), tmp_path / "net.pth", allow_missing="cnn.")
    report = load(RobustNet("nano"), tmp_path / "net.pth", allow_missing="fius.")
    assert report.missing and all(key.startswith("fius.") for key in report.missing)


def test_init_weights_of_the_towers_does_not_undo_the_loading(tmp_path):
    theirs = timm_vit()
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    init = dict(type="robustnet_mm.PretrainedTower", checkpoint=str(tmp_path / "vit.pth"))
    net = RobustNet("nano", vit=dict(model_args=SMALL, init_cfg=init))
    net.init_weights()
    assert torch.equal(net.vit.model.blocks[2].attn.qkv.weight, theirs.blocks[2].attn.qkv.weight)


def test_another_number_of_classes_is_refused_unless_allowed_and_then_said(tmp_path, logged):
    torch.save(timm_vit().state_dict(), tmp_path / "vit.pth")
    head = small_head(classes=10)
    message = r"fc.weight \(1000, 48\), here \(10, 48\).*leave its init_cfg away, or keep"
    assert_untouched(head.vit, tmp_path / "vit.pth", message)
    fresh = head.vit.fc.weight.clone()
    report = load(head.vit, tmp_path / "vit.pth", allow_missing=["fc"])
    assert "fc.weight (1000, 48), here (10, 48)" in report.reinitialised
    assert "2 reinitialised (fc.bias" in logged[-1] and torch.equal(head.vit.fc.weight, fresh)
    assert torch.equal(head.vit.norm.weight, torch.ones(48)) and "norm.weight" in report.loaded


def assert_untouched(module, path, message, **kwargs):
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load(module, path, **kwargs)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_a_missing_file_is_named(tmp_path):
    assert_untouched(ConvTower("nano"), tmp_path / "no.pth", "no.pth does not exist")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_truncated_file_is_named(tmp_path, share, suffix):
    path = tmp_path / f"vit.{suffix}"
    (torch.save if suffix == "pth" else save_file)(timm_vit().state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert_untouched(ViTTower(VIT, SMALL), path, r"truncated or no checkpoint .*get the file again")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.6, 0.9, 0.9999])
def test_a_truncated_file_of_torchs_old_format_is_named(tmp_path, share):
    path = tmp_path / "vit.pth"
    torch.save(timm_vit().state_dict(), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert_untouched(ViTTower(VIT, SMALL), path, "truncated or no checkpoint")


def test_damaged_bytes_are_named(tmp_path):
    torch.save(timm_vit().state_dict(), tmp_path / "vit.pth")
    content = (tmp_path / "vit.pth").read_bytes()
    for position in range(40, 4000, 397):
        damaged = content[:position] + b"\xff\x00\xee" + content[position + 3 :]
        (tmp_path / "damaged.pth").write_bytes(damaged)
        with contextlib.suppress(ValueError):  # or the damage lies where nothing reads
            read_checkpoint(tmp_path / "damaged.pth")


def test_a_file_that_holds_no_dict_is_refused(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="must hold a dict of weights, got a list"):
        read_checkpoint(tmp_path / "list.pth")


def test_other_ways_of_loading_are_refused_where_they_would_load_what_they_can(tmp_path):
    torch.save(timm_vit().state_dict(), tmp_path / "vit.pth")
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "vit.pth"))
    with pytest.raises(ValueError, match="must have type='robustnet_mm.PretrainedTower'"):
        RobustNet("nano", init_cfg=init).init_weights()
    with pytest.raises(ValueError, match="got Linear: put it into model.backbone.init_cfg"):
        load(torch.nn.Linear(1, 1), tmp_path / "vit.pth")


def test_a_web_page_saved_as_a_checkpoint_is_named(tmp_path):
    for suffix in ("pth", "safetensors"):
        path = tmp_path / f"vit.{suffix}"
        path.write_text("\n <!DOCTYPE html><html>404</html>")
        assert_untouched(
            ViTTower(VIT, SMALL), path, "is a web page, not a checkpoint: the download"
        )


class Evil:
    def __reduce__(self):
        return (os.system, (f"touch {self.target}",))


class EvilGetattr:
    def __reduce__(self):
        return (getattr, (torch.nn.Linear, "__init__"))


def test_pickled_code_is_refused_and_not_run(tmp_path):
    Evil.target = tmp_path / "ran"
    torch.save({"state_dict": {"a": torch.ones(1)}, "extra": Evil()}, tmp_path / "evil.pth")
    assert_untouched(ConvTower("nano"), tmp_path / "evil.pth", "holds pickled code .*is refused")
    assert not Evil.target.exists()
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError):
        read_checkpoint(tmp_path / "old.pth")
    assert not Evil.target.exists()
    torch.save({"a": torch.ones(1), "b": EvilGetattr()}, tmp_path / "getattr.pth")
    with pytest.raises(ValueError, match="pickled code"):
        read_checkpoint(tmp_path / "getattr.pth")


@pytest.mark.parametrize(
    "tower, message",
    [
        (lambda: ConvTower("resnet34"), "missing: blocks"),
        (lambda: ConvTower("nano"), "of another shape"),
        (
            lambda: ViTTower(VIT, SMALL),
            r"is a ResNet \(ResNet \(torchvision, timm\)\), ViTTower takes the weights of a ViT",
        ),
    ],
)
def test_a_file_of_another_architecture_is_named_and_nothing_is_loaded(tmp_path, tower, message):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "cnn.pth")
    assert_untouched(tower(), tmp_path / "cnn.pth", message)


def test_a_key_that_no_table_explains_is_named(tmp_path):
    weights = timm_vit().state_dict() | {"surprise": torch.ones(1)}
    torch.save(weights, tmp_path / "vit.pth")
    assert_untouched(ViTTower(VIT, SMALL), tmp_path / "vit.pth", "1 left over: model.surprise")
    torch.save(timm_vit(init_values=1.0).state_dict(), tmp_path / "vit.pth")
    assert_untouched(ViTTower(VIT, SMALL), tmp_path / "vit.pth", "left over: .*ls1.gamma")


def test_an_unknown_prefix_lists_the_present_ones(tmp_path):
    torch.save({"backbone.x": torch.ones(1), "neck.y": torch.ones(1)}, tmp_path / "net.pth")
    assert_untouched(
        RobustNet("nano"),
        tmp_path / "net.pth",
        "prefix 'encoder.'; it has backbone., neck.",
        prefix="encoder.",
    )


def test_a_table_that_is_no_square_grid_is_refused():
    tower = ViTTower(VIT, SMALL)
    weights = tower.state_dict() | {"model.pos_embed": torch.zeros(1, 1 + 12, 48)}
    with pytest.raises(ValueError, match="is no square grid of 1 prefix tokens"):
        load_into(tower, weights, "test")


def test_a_file_without_tensors_is_refused():
    with pytest.raises(ValueError, match="holds no tensors, its keys are epoch"):
        find_state_dict({"epoch": 3})


def test_deit_tinys_real_weights_give_its_logits_exactly_in_a_woven_network(real_data):
    path = real_data / "weights/deit_tiny_patch16_224.pth"
    theirs = timm.create_model("deit_tiny_patch16_224").eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    net = RobustNet("tiny-patch16", cnn=dict(arch="resnet18")).eval()
    head = TwoTowerHead(1000, dict(in_channels=512), dict(in_channels=192)).eval()
    load(net.vit, path)
    load(head.vit, path)
    images = torch.randn(4, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(head(net(images))[1], theirs(images))


@pytest.mark.parametrize(
    "name, args, key",
    [
        ("deit_tiny_distilled_patch16_224", SMALL, "head_dist"),
        ("vit_base_patch16_siglip_224", SMALL, "attn_pool"),
    ],
)
def test_a_network_with_another_head_is_refused_by_a_plain_one(tmp_path, name, args, key):
    torch.save(timm.create_model(name, num_classes=1000, **args).state_dict(), tmp_path / "vit.pth")
    message = f"keys are not those of a ViT for ViTClassifier: {key}"
    assert_untouched(small_head().vit, tmp_path / "vit.pth", message)


def test_an_empty_pattern_would_allow_everything_and_is_refused():
    with pytest.raises(ValueError, match="of which an empty one allows everything"):
        PretrainedTower("vit.pth", allow_missing=["fius.", ""])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_file_in_half_precision_is_refused(tmp_path, dtype):
    weights = {key: value.to(dtype) for key, value in timm_vit().state_dict().items()}
    torch.save(weights, tmp_path / "vit.pth")
    message = r"40 in half precision: .*lost digits: get the one in float32"
    assert_untouched(ViTTower(VIT, SMALL), tmp_path / "vit.pth", message)


def test_tables_of_a_published_square_grid_are_resized_also_to_one_of_the_same_length(tmp_path):
    theirs = timm_vit()
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    tower = ViTTower(VIT, SMALL | dict(img_size=(112, 448)))  # 7 x 28 patches, 196 as 14 x 14
    report = load(tower, tmp_path / "vit.pth")
    assert report.resized == ["model.pos_embed (1, 197, 48) -> (1, 197, 48)"]
    assert apart(tower.model.pos_embed, theirs.pos_embed)
    torch.save(
        {f"backbone.vit.{k}": v for k, v in tower.state_dict().items()}, tmp_path / "own.pth"
    )
    again = ViTTower(VIT, SMALL | dict(img_size=(112, 448)))
    assert not load(again, tmp_path / "own.pth").resized  # ours is on its own grid
    assert torch.equal(again.model.pos_embed, tower.model.pos_embed)


def test_tables_of_relative_positions_are_resized(tmp_path):
    name, args = "beitv2_base_patch16_224", dict(depth=1, embed_dim=48, num_heads=3)
    theirs = timm.create_model(name, **args)
    table = torch.nn.init.normal_(theirs.blocks[0].attn.relative_position_bias_table)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    tower = ViTTower(name, args | dict(img_size=96))
    assert len(load(tower, tmp_path / "vit.pth").resized) == 1
    theirs.set_input_size((96, 96))
    own = tower.blocks[0].attn.relative_position_bias_table
    assert own.shape != table.shape
    assert torch.equal(own, theirs.blocks[0].attn.relative_position_bias_table)


@pytest.mark.parametrize("eps, args", [(1e-5, {}), (1e-3, dict(bn_eps=1e-3))])
def test_a_source_whose_norms_have_another_eps_is_refused(tmp_path, eps, args):
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), tmp_path / "cnn.pth")
    tower = TimmCNNTower("mobilenetv3_small_100", args)
    if args:
        assert load(tower, tmp_path / "cnn.pth").loaded
    else:
        message = r"norms of eps 0.001, this TimmCNNTower has 1e-05: add model_args=dict\(bn_eps"
        assert_untouched(tower, tmp_path / "cnn.pth", message)


def test_norms_folded_into_convolutions_are_said_unless_they_stay_in_eval_mode(tmp_path, logged):
    weights = torchvision.models.resnet18().state_dict()  # fresh statistics: 0 and 1
    folded = {k: v - 1e-5 if k.endswith("running_var") else v for k, v in weights.items()}
    torch.save(folded, tmp_path / "cnn.pth")  # some tools leave 1 - eps
    load(ConvTower("resnet18", norm_eval=True), tmp_path / "cnn.pth")
    assert not any("were folded" in line for line in logged)
    load(ConvTower("resnet18"), tmp_path / "cnn.pth")
    assert "norms were folded into the convolutions. Set norm_eval=True" in logged[-1]


def test_a_name_that_stands_for_several_normalisations_is_said(tmp_path, logged):
    torch.save(timm_vit().state_dict(), tmp_path / "vit.pth")
    for name, extra, said in (
        ("vit_base_patch16_224", {}, True),
        ("vit_base_patch16_224.mae", {}, False),
        ("vit_base_patch16_224", dict(input_norm=IMAGENET_NORM), False),
        ("deit_tiny_patch16_224", {}, False),
    ):
        logged.clear()
        load(ViTTower(name, SMALL, **extra), tmp_path / "vit.pth")
        assert any("weights of this name for other means" in line for line in logged) == said


@pytest.mark.parametrize(
    "key, likely",
    [
        ("visual.transformer.resblocks.0.ln_1.weight", "CLIP as OpenAI or OpenCLIP"),
        ("layers.0.blocks.0.attn.qkv.weight", "a Swin"),
        ("something.else", "its keys are something.else"),
    ],
)
def test_a_file_of_no_known_source_is_named_with_what_it_looks_like(tmp_path, key, likely):
    torch.save({key: torch.ones(1)}, tmp_path / "net.pth")
    message = f"source of the file is not recognised.*{likely}.*Known: ViT"
    assert_untouched(ViTTower(VIT, SMALL), tmp_path / "net.pth", message)


def test_each_part_takes_its_own_from_a_checkpoint_of_this_package(tmp_path):
    net, head = RobustNet("nano"), TwoTowerHead(5, dict(in_channels=256), dict(in_channels=96))
    weights = {f"backbone.{k}": torch.randn_like(v.float()) for k, v in net.state_dict().items()}
    weights |= {f"head.{k}": torch.randn_like(v) for k, v in head.state_dict().items()}
    torch.save({"state_dict": weights, "meta": {}}, tmp_path / "classifier.pth")
    for module, prefix in (
        (net, "backbone."),
        (net.cnn, "backbone.cnn."),
        (net.vit, "backbone.vit."),
        (head.cnn, "head.cnn."),
        (head.vit, "head.vit."),
    ):
        report = load(module, tmp_path / "classifier.pth")
        assert report.source == "this package" and not report.missing
        for key, value in module.state_dict().items():
            assert torch.equal(value.float(), weights[prefix + key].float().to(value.dtype).float())


def test_a_vit_of_transformers_loads_with_its_query_key_and_value_joined(tmp_path):
    """Names as in Hugging Face transformers 4.57, where the logits were compared by hand."""
    theirs, weights = timm_vit(), {}
    names = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    tops = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm": "layernorm",
    }
    for key, value in theirs.state_dict().items():
        stem, _, end = key.rpartition(".")
        if ".attn.qkv" in key:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                block = key.split(".")[1]
                weights[f"vit.encoder.layer.{block}.attention.attention.{part}.{end}"] = third
        elif key.startswith("blocks."):
            _, block, inner = stem.split(".", 2)
            weights[f"vit.encoder.layer.{block}.{names[inner]}.{end}"] = value
        elif stem == "head":
            weights[f"classifier.{end}"] = value
        else:
            weights[f"vit.{tops[stem or key]}{'.' + end if stem else ''}"] = value
    save_file({k: v.contiguous() for k, v in weights.items()}, tmp_path / "model.safetensors")
    tower, head = ViTTower(VIT, SMALL).eval(), small_head()
    load(tower, tmp_path / "model.safetensors")
    load(head.vit, tmp_path / "model.safetensors")
    images = torch.randn(1, 3, 224, 224)
    assert torch.equal(head.vit(TowerOutputs((), *tower(images))), theirs(images))


def test_large_weights_are_finite_even_where_their_sum_is_not():
    linear, huge = torch.nn.Linear(4, 4), torch.finfo(torch.float32).max
    weights = {name: torch.full_like(p, huge) for name, p in linear.state_dict().items()}
    load_into(linear, weights, "test")
    assert (linear.weight == huge).all()
    weights["bias"][1] = float("-inf")
    with pytest.raises(ValueError, match="1 not finite .*bias"):
        load_into(linear, weights, "test")
