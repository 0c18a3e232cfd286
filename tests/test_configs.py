"""Every config builds, takes one training step and one test step, and leaves nothing untrained."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.py") if p.parent.name != "_base_")
# blocks of the ViT that are enough for some exchanges: the 24 and 32 of the paper's need gigabytes
FEW_BLOCKS = {"large-patch16": 4, "base-patch14": 3}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def cfg(request, tmp_path, monkeypatch):
    for name in ("VIT_WEIGHTS", "CLASSIFIER", "DATA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    cfg = Config.fromfile(request.param)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        yield cfg


def build(cfg):
    backbone = cfg.model.backbone
    if backbone.arch in FEW_BLOCKS:
        backbone.vit.model_args = dict(depth=FEW_BLOCKS[backbone.arch])
    if cfg.default_scope == "mmdet":  # few regions: the heads run on each
        cfg.model.train_cfg.rpn_proposal.max_per_img = 40
        cfg.model.test_cfg.rpn.max_per_img = 40
    if "data_preprocessor" in cfg:
        cfg.model.setdefault("data_preprocessor", cfg.data_preprocessor)  # as the Runner does
    return MODELS.build(cfg.model)


def batch(cfg, model):
    if cfg.default_scope == "mmpretrain":
        from mmpretrain.structures import DataSample

        classes = model.head.num_classes
        return dict(
            inputs=torch.randint(0, 256, (2, 3, 64, 80), dtype=torch.uint8),
            data_samples=[DataSample().set_gt_label(k % classes) for k in (0, 7)],
        )
    from mmdet.testing import demo_mm_inputs

    classes = model.roi_head.bbox_head.num_classes
    return demo_mm_inputs(
        2, [(3, 96, 128), (3, 80, 96)], num_classes=classes, num_items=[2, 1], with_mask=True
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
        assert parameter.grad is not None, f"{name} gets no gradient: DDP would stop"
    wrapper.step()
    model.eval()
    with torch.no_grad():
        samples = model.test_step(data)
    assert len(samples) == 2
    if cfg.default_scope == "mmpretrain":
        assert samples[0].pred_score.numel() == model.head.num_classes
        assert "cnn_score" in samples[0] and "vit_score" in samples[0]
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
    assert cfg.default_hooks.checkpoint.backend_args.backend == "whole"
    assert cfg.default_hooks.images.type == "robustnet_mm.CheckedImagesHook"


def test_the_imagenet_configs_follow_the_papers_recipe(cfg):
    if Path(cfg.filename).parent.name != "imagenet":
        pytest.skip("no ImageNet config")
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
    assert cfg.model.backbone.vit.drop_path_rate == 0.1


def test_the_coco_configs_train_for_12_epochs(cfg):
    if Path(cfg.filename).parent.name != "coco":
        pytest.skip("no COCO config")
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 1e-4, 1e-4)
    assert cfg.train_cfg.max_epochs == 12 and cfg.param_scheduler[1].milestones == [8, 11]
