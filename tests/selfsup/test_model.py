"""Barlow Twins of both towers: the loss is the sum of its parts, and everything learns."""

import pytest
import torch
from helpers import close, free_port, open_exchanges
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS, DefaultScope

from robustnet_mm.models import TowerOutputs
from robustnet_mm.selfsup import TowerPool, barlow_twins_loss, cross_correlation, pooled

NANO = dict(type="robustnet_mm.RobustNet", arch="nano")
PROJECTOR = dict(
    type="NonLinearNeck",
    hid_channels=24,
    out_channels=16,
    num_layers=3,
    with_last_bn=False,
    norm_cfg=dict(type="BN1d"),
)
VIEWS = [torch.randn(6, 3, 64, 64) for _ in range(2)]


def model_of(opened=True, backbone=NANO, **kwargs):
    settings = dict(backbone=backbone, projector=PROJECTOR) | kwargs
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        torch.manual_seed(0)
        model = MODELS.build(dict(type="robustnet_mm.TwoTowerBarlowTwins", **settings))
    if opened:
        open_exchanges(model.backbone)
    return model


def total(losses):
    return sum(value for name, value in losses.items() if name.startswith("loss"))


def test_without_exchanges_and_cross_terms_it_is_the_sum_of_two_single_towers():
    from mmpretrain.models import BarlowTwins

    model = model_of(opened=False, backbone=dict(NANO, direction="none")).eval()
    losses = model(VIEWS, mode="loss")
    assert "loss_cross" not in losses
    singles = []
    for name in ("cnn", "vit"):
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            loss = dict(type="CrossCorrelationLoss", lambd=0.0051)
            head = dict(type="LatentCrossCorrelationHead", in_channels=16, loss=loss)
            single = BarlowTwins(dict(type="robustnet_mm.ConvTower", arch="nano"), head=head)
        single.backbone = getattr(model.backbone, name)
        single.neck = torch.nn.Sequential(TowerPool(), model.projectors[name])
        singles.append(single)
        alone = [single.neck(single.backbone(view))[0] for view in VIEWS]
        ours = barlow_twins_loss(cross_correlation(*alone))
        assert torch.equal(losses[f"loss_{name}"], ours)  # the same numbers, bit for bit
        close(ours, single.loss(VIEWS, None)["loss"], depth=3)
    assert torch.equal(total(losses), losses["loss_cnn"] + losses["loss_vit"])


def test_the_cross_terms_compare_a_tower_with_the_other_and_are_weighed():
    model = model_of(cross_weight=0.5).eval()
    losses = model(VIEWS, mode="loss")
    one, other = map(model.project, VIEWS)
    pairs = (one["cnn"], other["vit"]), (one["vit"], other["cnn"])
    expected = 0.5 * sum(barlow_twins_loss(cross_correlation(*pair)) for pair in pairs)
    close(losses["loss_cross"], expected, depth=2)


def test_all_of_both_towers_and_their_exchanges_get_gradients():
    model = model_of(cross_weight=1.0).train()
    total(model(VIEWS, mode="loss")).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without, without
    for part in (model.backbone.cnn, model.backbone.vit, model.backbone.fius):
        assert sum(p.grad.abs().sum() for p in part.parameters()) > 0


def test_the_log_tells_diagonal_and_off_diagonal():
    model = model_of().eval()
    losses = model(VIEWS, mode="loss")
    correlation = model.correlations(VIEWS)["vit"]
    close(losses["vit_diagonal"], correlation.diagonal().mean(), depth=2)
    rest = correlation[~torch.eye(16, dtype=torch.bool)]
    close(losses["vit_off_diagonal"], rest.square().mean().sqrt(), depth=2)
    parsed, logged = model.parse_losses(losses)
    close(parsed, losses["loss_cnn"] + losses["loss_vit"])
    assert "vit_diagonal" in logged


def work(rank, folder, port):
    torch.set_num_threads(1)
    store = torch.distributed.TCPStore("127.0.0.1", port, 2, rank == 0)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    model = MMDistributedDataParallel(model_of(cross_weight=1.0).eval(), device_ids=None)
    total(model([view[3 * rank : 3 * rank + 3] for view in VIEWS], mode="loss")).backward()
    grads = {name: p.grad for name, p in model.module.named_parameters()}
    torch.save(grads, f"{folder}/{rank}.pth")
    torch.distributed.destroy_process_group()


def test_two_processes_have_one_batch(tmp_path):
    """The correlation is over the images of both, and so is its gradient."""
    arguments = (str(tmp_path), free_port())
    torch.multiprocessing.start_processes(work, arguments, nprocs=2, start_method="fork")
    model = model_of(cross_weight=1.0).eval()  # BatchNorms of the projectors see half each
    total(model(VIEWS, mode="loss")).backward()
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    for name, parameter in model.named_parameters():
        assert torch.equal(first[name], second[name]), name
        close(first[name], parameter.grad, model)


def test_a_vector_of_whatever_a_backbone_gives():
    maps, tokens = (torch.rand(2, 5, 4, 6), torch.rand(2, 7, 2, 3)), torch.rand(2, 1 + 6, 9)
    found = pooled(TowerOutputs(maps, tokens, (2, 3)))
    close(found["cnn"], maps[1].mean((2, 3)))
    close(found["vit"], tokens[:, 1:].mean(1))
    assert torch.equal(pooled((tokens, (2, 3)))["vit"], found["vit"])
    assert torch.equal(pooled(maps)["cnn"], found["cnn"])
    assert torch.equal(pooled((tokens[:, 0],))["vit"], tokens[:, 0])
    with pytest.raises(ValueError, match="a backbone must give TowerOutputs"):
        pooled(tokens)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(backbone=dict(type="robustnet_mm.ConvTower", arch="nano")), "BarlowTwins"),
        (dict(backbone=dict(NANO, out_type="pyramid")), "out_type='towers'"),
        (dict(cross_weight=-1), "cross_weight must be a finite number >= 0"),
        (dict(projector=None), "projector must be a dict such as"),
    ],
)
def test_what_does_not_fit_is_said(change, message):
    with pytest.raises(ValueError, match=message):
        model_of(opened=False, **change)


def test_one_view_or_another_mode_is_said():
    model = model_of()
    with pytest.raises(ValueError, match="two views of each image, got 1"):
        model(VIEWS[:1], mode="loss")
    with pytest.raises(ValueError, match="mode must be one of tensor, loss, got 'predict'"):
        model(VIEWS, mode="predict")
    with pytest.raises(ValueError, match="got a woven network with both"):
        TowerPool()(model.backbone(VIEWS[0]))
