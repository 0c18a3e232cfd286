"""What several test files use: the rule for rounding errors, small networks and trainings."""

import socket
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from robustnet_mm.models import ConvTower, TowerOutputs, TwoTowerHead
from robustnet_mm.models.fiu import ZeroLinear

ROOT = Path(__file__).resolve().parents[1]
EPS = torch.finfo(torch.float32).eps  # 1.19e-7
ROUND = 8  # EPS of its largest value by which one layer may be rounded otherwise; seen: up to 2


def but_extended(names, extended):
    """Parameters of a test, of which `make test` leaves out those that repeat another's kind."""
    assert set(extended) <= set(names), sorted(set(extended) - set(names))
    mark = pytest.mark.extended
    return [pytest.param(n, marks=mark) if n in extended else n for n in names]


def depth_of(network: nn.Module) -> int:
    """Number of a network's layers that sum products."""
    return sum(isinstance(m, (nn.modules.conv._ConvNd, nn.Linear)) for m in network.modules())


def close(got, expected, depth: int | nn.Module = 1, scale: float | None = None) -> None:
    """Assert that two results differ by rounding alone: the one rule of all tests.

    A processor's vector width and the shapes of a batch decide in which order a layer sums its
    terms, so that the same layer is rounded by a few EPS of its largest value; what follows hands
    these errors on and adds its own. An element may therefore differ by

        ROUND * EPS * depth * max(|expected|).

    Where both computations are the same operations in the same order on the same shapes, ask for
    `torch.equal` instead.

    Args:
        got: Tensor, array or number, or a list or tuple of them.
        expected: The same.
        depth: Number of layers between the inputs and the results, or the network that they are of.
        scale: Largest value on the way, where it is larger than those of `expected`.
    """
    if isinstance(got, (list, tuple)):
        for one, other in zip(got, expected, strict=True):
            close(one, other, depth, scale)
        return
    got, expected = (torch.as_tensor(x).detach().double() for x in (got, expected))
    assert got.shape == expected.shape, f"{tuple(got.shape)}, not {tuple(expected.shape)}"
    if not got.numel():
        return
    depth = depth_of(depth) if isinstance(depth, nn.Module) else depth
    allowed = ROUND * EPS * depth * (expected.abs().max().item() if scale is None else scale)
    worst = (got - expected).abs().max().item()
    assert worst <= allowed, f"differ by {worst:.3g}, rounding explains {allowed:.3g}"


def apart(one, other, share: float = 1e-3) -> bool:
    """Whether two results differ by much more than rounding: by a share of the largest value."""
    one, other = (torch.as_tensor(x).detach().double() for x in (one, other))
    return bool((one - other).abs().max() > share * other.abs().max())


def randomize(network):
    """Weights with which every layer matters, statistics included."""
    for name, buffer in network.named_buffers():
        if "running" in name:
            nn.init.uniform_(buffer, 0.5, 1.5)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.3, 0.9)
    network.eval()  # mmpretrain's gives None
    return network


def waken(tower):
    """Undo the zeros of a fresh CNN's residual blocks, which would hide what happens inside."""
    for block in tower.blocks if isinstance(tower, ConvTower) else ():
        nn.init.constant_(block.last_norm.weight, 0.5)
    return tower


def open_exchanges(net):
    """A woven network whose towers tell each other something."""
    for name, parameter in net.named_parameters():
        if name.endswith("gate.scale"):
            nn.init.constant_(parameter, 0.5)
    for layer in (module for module in net.modules() if isinstance(module, ZeroLinear)):
        nn.init.normal_(layer.weight, std=0.5)
        nn.init.normal_(layer.bias, std=0.1)
    waken(net.cnn)
    return net


def free_port() -> int:
    """A port of this machine that no process listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Noise(Dataset):
    """Samples made from the global random state, as augmentations are."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.randn(4) + index / 6


class LeastModel(nn.Module):
    def __init__(self, bad_at=None):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(4, 1)
        self.calls, self.bad_at = 0, bad_at

    def train_step(self, data, optim_wrapper):
        self.calls += 1
        x = torch.stack(data) if isinstance(data, list) else data
        loss = self.fc(torch.dropout(x, 0.5, True)).square().mean()
        if self.calls == self.bad_at:
            loss = loss * float("nan")
        optim_wrapper.update_params(loss)
        return dict(loss=loss)


def least_runner(work_dir, epochs, bad_at=None, resume=False, workers=0, seed=3, **checkpoint):
    """A training of five weights in three iterations an epoch, with this package's hooks."""
    loader = dict(
        batch_size=2,
        num_workers=workers,
        dataset=Noise(),
        collate_fn=dict(type="default_collate"),
        sampler=dict(type="DefaultSampler", shuffle=True),
    )
    return Runner(
        LeastModel(bad_at),
        str(work_dir),
        train_dataloader=loader,
        resume=resume,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        randomness=dict(seed=seed),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
        default_hooks=dict(
            checkpoint=dict(type="robustnet_mm.WholeCheckpointHook", interval=1, **checkpoint)
        ),
        custom_hooks=[
            dict(type="robustnet_mm.EpochSeedHook"),
            dict(type="robustnet_mm.NaNGuardHook", interval=2),
        ],
        experiment_name=f"{work_dir.name}{epochs}{resume}",
    )


SMALL = dict(depth=3, embed_dim=48, num_heads=3)
# name -> (what makes it small, a key that must be there, the number of prefix tokens)
FAMILIES = {
    "vit_tiny_patch16_224": (SMALL, None, 1),  # AugReg, normalised by 0.5
    "vit_base_patch16_gap_224": (SMALL, None, 0),
    "deit_tiny_patch16_224": (SMALL, None, 1),
    "deit_tiny_distilled_patch16_224": (SMALL, "dist_token", 2),
    "deit3_small_patch16_224": (SMALL, "blocks.0.ls1.gamma", 1),
    "vit_base_patch16_224.mae": (SMALL | dict(global_pool="avg"), None, 1),
    "vit_small_patch16_224.dino": (SMALL, None, 1),
    "vit_small_patch14_dinov2": (SMALL, "blocks.0.ls1.gamma", 1),
    "vit_small_patch14_reg4_dinov2": (SMALL, "reg_token", 5),
    "vit_giant_patch14_dinov2": (SMALL, "blocks.0.mlp.fc1.weight", 1),  # SwiGLU
    "vit_small_patch16_dinov3": (dict(depth=2), "reg_token", 5),  # rotary
    "vit_small_patch16_dinov3_qkvb": (dict(depth=2), "blocks.0.attn.q_bias", 5),
    "eva02_tiny_patch14_224": (dict(depth=2), "blocks.0.attn.q_bias", 1),  # rotary, SwiGLU
    "eva02_base_patch14_224": (dict(depth=1), "blocks.0.mlp.norm.weight", 1),
    "vit_small_patch16_rope_mixed_224": (dict(depth=2), "rope.freqs", 1),
    "vit_base_patch16_clip_224.openai": (SMALL, "norm_pre.weight", 1),
    "vit_base_patch16_siglip_224": (SMALL, "attn_pool.latent", 0),
    "vit_base_patch16_siglip_gap_224": (SMALL, None, 0),
    "beitv2_base_patch16_224": (
        dict(depth=2, embed_dim=48, num_heads=3),
        "blocks.0.attn.relative_position_bias_table",
        1,
    ),
}

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def photographs(folder, batch=20):
    """Centre crops of 224 pixels, normalised, with labels: ((N, 3, 224, 224), (N,)) batches."""
    rows = [line.split() for line in (folder / "labels.txt").read_text().splitlines()]
    for start in range(0, len(rows), batch):
        images, labels = [], []
        for name, label in rows[start : start + batch]:
            image = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
            top, left = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
            image = (image[top : top + 224, left : left + 224] - np.array(MEAN)) / STD
            images.append(torch.from_numpy(image).float().permute(2, 0, 1))
            labels.append(int(label))
        yield torch.stack(images), torch.tensor(labels)


# what the tool and the views are run on; tests/look/conftest.py makes data and checkpoints
DETECTOR = "configs/digit_scenes/mask-rcnn_robustnet-nano_digit-scenes.py"
CLASSIFIER = "configs/digit_scenes/robustnet-nano_5e_crops.py"
CLASSES = 5
BACKBONE = dict(type="robustnet_mm.RobustNet", arch="nano", weave=[(0, 0), (2, 1), (4, 2), (6, 3)])
HEAD = dict(
    type="robustnet_mm.TwoTowerHead",
    num_classes=CLASSES,
    cnn=dict(in_channels=256),
    vit=dict(in_channels=96, pool="token"),
)


LEARNED = dict(combine="class_weights", loss_weights=(1, 1, 1))  # a prediction that is not the sum


def classifier(opened=True, head=None, **backbone):
    """mmpretrain's classifier with nano towers and heads that tell images apart."""
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = ROOT_MODELS.build(
            dict(
                type="ImageClassifier",
                backbone={**BACKBONE, **backbone},
                head={**HEAD, **(head or {})},
            )
        )
    if opened:
        open_exchanges(model.backbone)
    for one in (model.head.cnn, model.head.vit):
        torch.nn.init.normal_(one.fc.weight, std=0.5)
    for learned in model.head.combine.parameters():
        torch.nn.init.normal_(learned)
    return model.eval()


def host_classifier():
    """A classifier of the host with nothing of this package in it."""
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return ROOT_MODELS.build(
            dict(
                type="ImageClassifier",
                backbone=dict(type="ResNet", depth=18, base_channels=8, stem_channels=8),
                neck=dict(type="GlobalAveragePooling"),
                head=dict(type="LinearClsHead", num_classes=CLASSES, in_channels=64),
            )
        ).eval()


def photos(n=1, height=64, width=96):
    return torch.randn(n, 3, height, width)


def shown(browser, file, width):
    """Names of what a page of pictures links to, in a window of a width in pixels.

    Asserts that each picture is drawn, that a click on it leads to the whole one, and that nothing
    must be scrolled to from the side.
    """
    page = browser.new_page(viewport=dict(width=width, height=800))
    page.goto(file.resolve().as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = "all => all.every(one => one.complete && one.naturalWidth > 0)"
    count, names = page.locator("img").count(), []
    assert count and page.locator("img").evaluate_all(drawn)
    for number in range(count):
        page.locator("img").nth(number).click()
        assert page.locator("img").evaluate_all(drawn)  # the browser shows the file as one
        names.append(unquote(page.url.rpartition("/")[2]))
        page.go_back()
    page.close()
    return names


def tower_outputs(prefix=1):
    """Of four images: two maps, and 6 patch tokens of width 16."""
    return TowerOutputs(
        (torch.randn(4, 8, 6, 6), torch.randn(4, 12, 3, 3)), torch.randn(4, prefix + 6, 16), (2, 3)
    )


def two_towers(pool="token", **kwargs):
    """A head of five classes for `tower_outputs`."""
    made = TwoTowerHead(5, dict(in_channels=12), dict(in_channels=16, pool=pool), **kwargs)
    torch.nn.init.normal_(made.vit.norm.weight)
    return made


def labelled():
    """Data samples of the four images."""
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(label) for label in (0, 4, 2, 2)]
