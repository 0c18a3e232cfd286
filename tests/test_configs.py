"""Every config builds, takes one training step and one test step, and leaves nothing untrained."""

import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import timm
import torch
from helpers import ROOT, but_extended
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from safetensors.torch import save_file

from robustnet_mm.models.robustnet import VARIANTS
from robustnet_mm.weights.sources import SOURCES

OTHERS = ("_base_", "studies")  # parts, and what tests/studies builds
CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.py") if p.parent.name not in OTHERS)
SIZE = (80, 96)  # no whole number of patches, and 9 pixels at stride 32
FEW_BLOCKS = 3  # of the 12 to 32 of a ViT from `base` on: enough for some exchanges
# files of the ViT and of the CNN in the paper's models
PAPER = {
    "small-patch16": ("mae_finetuned_vit_base.pth", "Conformer_small_patch16.pth"),
    "large-patch16": ("mae_finetuned_vit_large.pth", "Conformer_base_patch16.pth"),
    "base-patch14": ("mae_finetuned_vit_huge.pth", "Conformer_base_patch16.pth"),
}


read = cache(Config.fromfile)


def only(pattern: str, extended: str = "^$"):
    """The test asks the configs of this pattern alone, those of another behind `extended`."""
    chosen = [p for p in CONFIGS if re.search(pattern, p.relative_to(ROOT / "configs").as_posix())]
    assert chosen, f"no config {pattern}"
    params = but_extended(chosen, [path for path in chosen if re.search(extended, path.stem)])
    ids = [path.stem for path in chosen]
    return pytest.mark.parametrize("cfg", params, indirect=True, ids=ids)


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def cfg(request, monkeypatch, own_data):
    for name in ("CNN_WEIGHTS", "VIT_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_ROOT", str(own_data))
    monkeypatch.setenv("VGG_WEIGHTS", "random")
    cfg = deepcopy(read(request.param))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        yield cfg


def freezes_the_vit(cfg) -> bool:
    return "authors-setting" in Path(cfg.filename).name


def build(cfg):
    backbone = cfg.model.backbone
    woven = backbone.type.endswith("RobustNet")
    vit = backbone.setdefault("vit", {}) if woven else backbone
    arch = backbone.get("arch") if woven else None
    name = VARIANTS[arch][1] if arch else vit.get("model_name", "")
    if re.search("_(base|large|huge)_", name):
        vit["model_args"] = dict(depth=FEW_BLOCKS)
        if freezes_the_vit(cfg):
            backbone.vit.frozen_stages = FEW_BLOCKS
    if cfg.model.type == "PanopticFPN":
        backbone.frozen_stages = -1  # mmdet's own network
    if cfg.default_scope == "mmdet" and "rpn_head" in cfg.model:  # the heads run on each region
        cfg.model.train_cfg.rpn_proposal.max_per_img = 40
        cfg.model.test_cfg.rpn.max_per_img = 40
    if cfg.default_scope == "mmseg":
        cfg.model.data_preprocessor.size = SIZE
    if "projector" in cfg:  # of 8192 channels
        narrow_projectors(cfg.model)
    if "data_preprocessor" in cfg:
        cfg.model.setdefault("data_preprocessor", cfg.data_preprocessor)  # as the Runner does
    return MODELS.build(cfg.model)


def narrow_projectors(part):
    """Gigabytes are asked in no test."""
    for value in part.values() if isinstance(part, dict) else part:
        if isinstance(value, dict | list):
            narrow_projectors(value)
    if isinstance(part, dict) and part.get("type") == "NonLinearNeck":
        part.update(hid_channels=32, out_channels=32)
    if isinstance(part, dict) and part.get("type") == "LatentCrossCorrelationHead":
        part.update(in_channels=32)


def batch(cfg, model):
    if "projector" in cfg:
        return dict(inputs=[torch.randint(0, 256, (2, 3, 64, 64)) for _ in range(2)], samples=[])
    if cfg.default_scope == "mmpretrain":
        from mmpretrain.structures import DataSample

        classes = model.head.num_classes
        return dict(
            inputs=torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8),
            data_samples=[DataSample().set_gt_label(k % classes) for k in (0, 7)],
        )
    if cfg.default_scope == "mmengine":
        pictures = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
        return dict(inputs=dict(content=pictures, style=pictures[::-1]))
    if cfg.default_scope == "mmseg":
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        inputs = [torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8) for _ in range(2)]
        size = dict(ori_shape=SIZE, img_shape=SIZE, pad_shape=SIZE)
        samples = [SegDataSample(metainfo=dict(size, padding_size=[0] * 4)) for _ in inputs]
        for k, sample in enumerate(samples):
            labels = torch.randint(0, model.decode_head.num_classes, (1, *SIZE))
            labels[:, :8] = 255 if k else 0
            sample.gt_sem_seg = PixelData(data=labels)
        return dict(inputs=inputs, data_samples=samples)
    from mmdet.testing import demo_mm_inputs

    classes = (model.roi_head if "roi_head" in cfg.model else model).bbox_head.num_classes
    sizes, panoptic = [(3, 96, 128), (3, 80, 96)], cfg.model.type == "PanopticFPN"
    return demo_mm_inputs(
        2, sizes, num_classes=classes, num_items=[2, 1], with_mask=True, with_semantic=panoptic
    )


# a model of the others' with another depth, another region head, frozen or sharded
@only(
    ".",
    "(large|base)-patch.*_authors|fsdp|faster-rcnn_robustnet-small|mask-rcnn_resnet50-deit"
    "|_20x40|_10x21|adain|_hed|barlowtwins_(robustnet-small|vit-base)|segformer-affinity_mobile|segformer_bt-swin|segformer(-affinity)?_bt-resnet50-dino"
    "|resnet_400e|coco-stuff-91|^fpn_resnet50|(mask|faster)-rcnn_.*(dinov3|open-images)",
)
def test_a_training_step_reaches_every_parameter_and_a_test_step_predicts(cfg):
    model = build(cfg)
    data = batch(cfg, model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = model.train()(**model.data_preprocessor(data, training=True), mode="loss")
    loss, _ = model.parse_losses(losses)
    wrapper.backward(loss)
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        frozen = freezes_the_vit(cfg) and name.startswith("backbone.vit.")
        assert parameter.requires_grad != frozen, name
        assert frozen or parameter.grad is not None, f"{name} gets no gradient: DDP would stop"
    wrapper.step()
    if "test_dataloader" not in cfg:  # nothing to predict
        return
    model.eval()
    with torch.no_grad():
        samples = model.test_step(data)
    assert len(samples) == 2
    if cfg.default_scope == "mmpretrain":
        assert samples[0].pred_score.numel() == model.head.num_classes
        two = cfg.model.head.type.endswith("TwoTowerHead")
        assert ("cnn_score" in samples[0], "vit_score" in samples[0]) == (two, two)
    elif cfg.default_scope == "mmseg":
        assert samples[0].pred_sem_seg.data.shape == (1, *SIZE)
    elif cfg.default_scope == "mmengine":
        assert samples[0].picture.shape == (3, 64, 64)
    elif cfg.model.type == "PanopticFPN":
        assert samples[0].pred_panoptic_seg.sem_seg.ndim == 3
    else:
        assert ("masks" in samples[0].pred_instances) == (cfg.model.type == "MaskRCNN")


def test_the_docstring_says_what_it_is_and_the_command(cfg):
    text = Path(cfg.filename).read_text()
    docstring = text.split('"""')[1]
    assert str(Path(cfg.filename).relative_to(ROOT)) in docstring.replace("\\\n", " ")
    assert "train" in docstring


def test_what_every_config_has(cfg):
    assert cfg.auto_scale_lr.base_batch_size > 0
    types = [hook["type"] for hook in cfg.custom_hooks]
    assert {"robustnet_mm.EpochSeedHook", "robustnet_mm.NaNGuardHook", "SyncBuffersHook"} <= set(
        types
    )
    assert cfg.default_hooks.checkpoint.type == "robustnet_mm.WholeCheckpointHook"
    if cfg.default_scope != "mmengine":  # its dataset loads strictly by itself
        assert cfg.default_hooks.images.type == "robustnet_mm.CheckedImagesHook"


@only("^imagenet/")
def test_the_imagenet_configs_follow_the_papers_recipe(cfg):
    optimizer, steps = cfg.optim_wrapper.optimizer, cfg.train_dataloader.dataset.pipeline
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 5e-4, 0.05)
    assert cfg.train_cfg.max_epochs == 20 and cfg.train_dataloader.batch_size == 180
    warmup, cosine = cfg.param_scheduler
    assert (warmup.end, cosine.begin, cosine.end) == (3, 3, 20)
    by_type = {step["type"]: step for step in steps}
    assert by_type["RandAugment"]["magnitude_level"] == 9
    assert by_type["RandAugment"]["magnitude_std"] == 0.5
    assert by_type["RandomErasing"]["erase_prob"] == 0.25
    assert [(a.type, a.alpha) for a in cfg.model.train_cfg.augments] == [
        ("Mixup", 0.8),
        ("CutMix", 1),
    ]
    assert cfg.train_dataloader.sampler.type == "RepeatAugSampler"
    assert cfg.model.head.loss.label_smooth_val == 0.1
    assert cfg.model.backbone.vit.drop_path_rate == (0.0 if freezes_the_vit(cfg) else 0.1)


@only("^coco/")
def test_the_coco_configs_train_for_12_epochs(cfg):
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 1e-4, 1e-4)
    assert cfg.train_cfg.max_epochs == 12 and cfg.param_scheduler[1].milestones == [8, 11]


@only("^imagenet/robustnet-(small|large|base)")
def test_the_papers_models_name_one_public_file_for_a_tower_and_its_classifier(cfg):
    model = cfg.model
    named = dict(zip(("vit", "cnn"), PAPER[model.backbone.arch], strict=True))
    for tower, file in named.items():
        start = dict(type="robustnet_mm.PretrainedTower", checkpoint=f"checkpoints/{file}")
        assert model.backbone[tower].init_cfg == model.head[tower].init_cfg == start
    sources = Path(re.sub("_authors-setting|_fsdp", "", cfg.filename)).read_text().split('"""')[1]
    assert all(file in sources for file in named.values())
    assert "CC BY-NC 4.0" in sources and "non-commercial" in sources.replace("\n", " ")


@only("authors-setting")
def test_the_authors_setting_freezes_the_whole_vit_and_differs_in_nothing_else(cfg):
    changed = {"direction": "vit_to_cnn", "form": "ungated"}
    ours = deepcopy(read(Path(re.sub("_authors-setting|_fsdp", "", cfg.filename))))
    backbone, vit = dict(cfg.model.backbone), dict(cfg.model.backbone.vit)
    with torch.device("meta"):  # the real depth, without its gigabytes
        tower = MODELS.build(backbone).vit
    assert vit.pop("frozen_stages") == len(tower.blocks)
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    vit["drop_path_rate"] = ours.model.backbone.vit.drop_path_rate
    assert {k: backbone.pop(k) for k in changed} == changed
    assert dict(cfg.model, backbone={**backbone, "vit": vit}) == ours.model
    assert {k: v for k, v in cfg.items() if k != "model"} == {
        k: v for k, v in ours.items() if k != "model"
    }


@only("^(?!selfsup|visual).*(?<!bt-)(resnet50|convnext)")
def test_weights_taken_by_name_are_timms_and_the_classifiers_are_the_towers(cfg):
    head = cfg.model.get("head", {})
    for tower in ("cnn", "vit"):
        part = cfg.model.backbone[tower]
        assert part.init_cfg.pretrained is True
        assert part.model_name in timm.list_pretrained()
        licence = timm.models.get_pretrained_cfg(part.model_name).license
        rows = (ROOT / "docs/weights.md").read_text().splitlines()
        assert any(f"`{part.model_name}`" in row and f"| {licence} |" in row for row in rows)
        if head:
            assert head[tower].model_name == part.model_name
            assert head[tower].init_cfg.pretrained is True


@only("^imagenet/(resnet50|convnext)")
def test_classifiers_taken_by_name_load_and_only_what_was_never_published_is_fresh(
    cfg, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    head = MODELS.build(cfg.model.head)
    tells = dict(  # by which the key tables know a file
        resnet50="layer1.0.conv1.weight", convnext_tiny="stages.0.blocks.0.conv_dw.weight"
    )
    for part in (head.cnn, head.vit):
        published = timm.models.get_pretrained_cfg(part.weights_spec.model_name)
        tell = tells.get(published.architecture, "blocks.0.norm1.weight")
        names = [key.removeprefix("model.") for key in part.state_dict()]
        if not published.num_classes:
            names = [name for name in names if not name.startswith(published.classifier)]
        file = {name: torch.randn_like(part.state_dict()[f"model.{name}"]) for name in names}
        path = tmp_path / "checkpoints" / part.weights_spec.model_name / "model.safetensors"
        path.parent.mkdir(parents=True)
        save_file({**file, tell: torch.zeros(1)}, path)
        before = {key: value.clone() for key, value in part.state_dict().items()}
        part.init_weights()
        assert file
        for key, value in part.state_dict().items():
            assert torch.equal(value, file.get(key.removeprefix("model."), before[key])), key


def test_every_source_of_weights_is_described():
    text = (ROOT / "docs/weights.md").read_text()
    assert not [source.name for source in SOURCES if f"| {source.name} |" not in text]
