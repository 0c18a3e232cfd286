"""One vector an image, of whatever a backbone gives."""

from collections.abc import Sequence

import torch
from mmengine.dist import all_gather
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from robustnet_mm.models import TowerOutputs
from robustnet_mm.models.probe import undisturbed
from robustnet_mm.registry import MODELS


def _mean_patch(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    return tokens[:, -grid[0] * grid[1] :].mean(1)


def pooled(outputs) -> dict[str, Tensor]:
    """What a backbone gives -> tower -> (N, C).

    The mean of the CNN's last map, and of the ViT's patch tokens. `outputs` are a woven network's
    `TowerOutputs`, a tower's maps or its tokens and grid, or the tuple of a backbone of the hosts,
    whose last map or vector is taken.

    Raises:
        ValueError: None of these.
    """
    if isinstance(outputs, TowerOutputs):
        return dict(
            cnn=outputs.maps[-1].mean((2, 3)), vit=_mean_patch(outputs.tokens, outputs.grid)
        )
    if isinstance(outputs, Sequence) and len(outputs):
        if len(outputs) == 2 and isinstance(outputs[1], tuple) and outputs[0].ndim == 3:
            return dict(vit=_mean_patch(*outputs))
        last = outputs[-1]
        if isinstance(last, Tensor) and last.ndim == 4:
            return dict(cnn=last.mean((2, 3)))
        if isinstance(last, Tensor) and last.ndim == 2:
            return dict(vit=last)
    raise ValueError(
        "a backbone must give TowerOutputs, maps (N, C, H, W), tokens and their grid, or vectors "
        f"(N, C), got {type(outputs).__name__}: take a tower of ours, or out_type='towers'"
    )


@MODELS.register_module()
class TowerPool(BaseModule):
    """A neck before mmpretrain's `NonLinearNeck`: a single tower's `pooled`, as a tuple of one.

    Raises:
        ValueError: A backbone with both towers: take `TwoTowerBarlowTwins`.
    """

    def forward(self, outputs) -> tuple[Tensor]:
        """Outputs of a backbone -> ((N, C),)"""
        found = pooled(outputs)
        if len(found) > 1:
            raise ValueError(
                "TowerPool must have one tower before it, got a woven network with both: take "
                "model.type='robustnet_mm.TwoTowerBarlowTwins'"
            )
        return tuple(found.values())


def extract(
    backbone: nn.Module, data_preprocessor: nn.Module, loader: DataLoader
) -> tuple[dict[str, Tensor], Tensor]:
    """Vectors and labels of all images of a loader: tower -> (N, C), and (N,), on the CPU.

    Args:
        backbone: What `pooled` reads, in eval mode here and as before afterwards.
        data_preprocessor: One of mmpretrain.
        loader: Of a dataset of mmpretrain, with labels, in order (`DefaultSampler`); several
            processes share the work.

    Raises:
        ValueError: Images without labels.
    """
    found, labels = [], []
    with undisturbed(backbone), torch.no_grad():
        for batch in loader:
            data = data_preprocessor(batch, False)
            samples = data["data_samples"]
            if not samples or any("gt_label" not in sample for sample in samples):
                raise ValueError(
                    "the images must have labels, got some without: name a folder with one folder "
                    "for each class, and end the pipeline with dict(type='PackInputs')"
                )
            found.append({k: v.float().cpu() for k, v in pooled(backbone(data["inputs"])).items()})
            labels += [int(sample.gt_label) for sample in samples]
    number = len(loader.dataset)
    joined = {name: torch.cat([each[name] for each in found]) for name in found[0]}
    joined = {name: _of_all(vectors, number) for name, vectors in joined.items()}
    return joined, _of_all(torch.tensor(labels), number)


def _of_all(part: Tensor, number: int) -> Tensor:
    """What the processes read in turn, in order: the `number` images of the dataset."""
    return torch.stack(all_gather(part), 1).flatten(0, 1)[:number]
