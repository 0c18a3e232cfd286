"""Two processes train as one would, for both tasks, without find_unused_parameters."""

import pytest
import torch
from helpers import ROOT, close, open_exchanges
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS, DefaultScope

CONFIGS = ROOT / "configs/digit_scenes"


def make_model():
    cfg = Config.fromfile(CONFIGS / "robustnet-nano_5e_crops.py")
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
    for parameter in model.parameters():
        if parameter.ndim <= 1:  # wake residual blocks
            torch.nn.init.uniform_(parameter, 0.1, 0.5)
    open_exchanges(model.backbone)
    return model.eval()  # BatchNorm's statistics are those of each process's own half


def loss_of(model, images, labels):
    from mmpretrain.structures import DataSample

    samples = [DataSample().set_gt_label(label) for label in labels]
    return sum(model(images, samples, mode="loss").values())


def batch():
    torch.manual_seed(1)
    return torch.randn(4, 3, 64, 64), [0, 3, 5, 9]


def work(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    model = MMDistributedDataParallel(make_model(), device_ids=None)
    images, labels = batch()
    half = slice(2 * rank, 2 * rank + 2)
    for _ in range(2):  # DDP finds parameters without a gradient at the second forward
        model.zero_grad()
        loss_of(model, images[half], labels[half]).backward()
    grads = {name: p.grad for name, p in model.module.named_parameters()}
    torch.save(grads, f"{folder}/{rank}.pth")
    torch.distributed.destroy_process_group()


def test_gradients_of_two_processes_are_those_of_one(tmp_path):
    torch.multiprocessing.start_processes(work, (str(tmp_path),), nprocs=2, start_method="fork")
    model = make_model()
    loss_of(model, *batch()).backward()
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    for name, parameter in model.named_parameters():
        assert torch.equal(first[name], second[name]), name
        assert parameter.grad.abs().sum() > 0, name
        close(first[name], parameter.grad, model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_training_step_runs_under_bf16_on_cuda():
    model, (images, labels) = make_model().cuda(), batch()
    with torch.autocast("cuda", torch.bfloat16):
        loss = loss_of(model, images.cuda(), labels)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
