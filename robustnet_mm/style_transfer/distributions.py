"""How like real paintings a set of painted pictures is: FID, KID and MiFID under named networks."""

from collections.abc import Mapping, Sequence
from math import inf

import torch
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from torch import Tensor, nn

from robustnet_mm.arguments import check_dict, check_number
from robustnet_mm.registry import METRICS, MODELS

from .datasets import ContentStyleDataset, pictures_of
from .networks import Outside
from .pixels import to_unit

EPS = 0.1  # of the memorisation distance, as in the competition that MiFID comes from


def memorization(painted: Tensor, paintings: Tensor) -> float:
    """How far a painted picture is from the painting that is most like it, on average.

    (N, D), (M, D) -> the mean over the painted of the least 1 - cos (paper, equation 4): 0 for
    copies. It runs over the painted, so that a set of copies cannot hide behind other paintings.
    """
    one, other = (nn.functional.normalize(x.double(), dim=1) for x in (painted, paintings))
    return (1 - one @ other.T).amin(1).mean().clamp_min(0).item()


def mifid(fid: float, distance: float, eps: float = EPS) -> float:
    """FID over the memorisation distance, which counts only below `eps` (paper, equations 5, 6).

    Infinite for copies.
    """
    if distance >= eps:
        return fid
    return fid / distance if distance > 1e-12 else inf


class _Given(nn.Module):
    """What torchmetrics asks for features, where they are there already."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_and_kernel(painted: Tensor, paintings: Tensor) -> tuple[float, float]:
    """torchmetrics' FID and KID of features, (N, D) and (M, D).

    Raises:
        ImportError: torchmetrics is not installed.
        ValueError: Fewer than two pictures on a side.
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    except ImportError as error:
        raise ImportError(
            "FID and KID need torchmetrics: pip install 'robustnet-mm[style]'"
        ) from error
    size = min(len(painted), len(paintings))
    if size < 2:
        raise ValueError(f"FID and KID need two pictures on each side, got {size}")
    given = _Given(painted.size(1))
    found = []
    for metric in (
        FrechetInceptionDistance(feature=given).set_dtype(torch.float64),
        KernelInceptionDistance(feature=given, subsets=100, subset_size=size),
    ):
        metric.update(paintings.double(), real=True)
        metric.update(painted.double(), real=False)
        with torch.random.fork_rng(devices=[]):  # KID draws subsets of the larger side
            torch.default_generator.manual_seed(0)
            found.append(metric.compute())
    return found[0].item(), found[1][0].item()


@METRICS.register_module()
class LikenessMetric(BaseMetric):
    """FID, KID and MiFID of the painted pictures to paintings, under several networks in one run.

    For each network '<name>/FID', '<name>/KID', '<name>/MiFID', '<name>/distance' (of memorisation)
    and '<name>/copied', 1 where the set is copied (then MiFID is infinite). Figures under different
    networks, sizes or numbers of pictures cannot be compared.

    Args:
        networks: Name -> config of a network of `networks`; its last map is averaged over places.
        paintings: A folder or a list of files.
        size: Shorter side of a painting in pixels; the middle square is taken.
        eps: The memorisation distance counts below it.
        collect_device: As in mmengine.
        prefix: As in mmengine.

    Raises:
        ValueError: No networks, or no paintings.
    """

    def __init__(
        self,
        networks: Mapping[str, Mapping],
        paintings: str | Sequence[str],
        size: int = 256,
        eps: float = EPS,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ):
        super().__init__(collect_device, prefix)
        check_dict("networks", networks, "dict(vgg16=dict(type='robustnet_mm.VGGFeatures', ...))")
        check_number("eps", eps)
        if not networks:
            raise ValueError("networks must name one network at least, got none")
        self.networks = {name: Outside(MODELS.build(dict(cfg))) for name, cfg in networks.items()}
        self.paths, self.size, self.eps = pictures_of("paintings", paintings), size, eps
        self._real: list[dict[str, Tensor]] = []

    @torch.no_grad()
    def _features(self, picture: Tensor) -> dict[str, Tensor]:
        """(3, H, W) uint8, RGB -> name -> (D,)"""
        unit = to_unit(picture.to(get_device()))
        found = {}
        for name, network in self.networks.items():
            *_, last = network(unit).values()
            found[name] = last.mean((2, 3))[0].cpu()
        return found

    def process(self, data_batch: Mapping, data_samples: Sequence[Mapping]) -> None:
        """Keep the features of each painted picture."""
        self.results += [self._features(sample["picture"]) for sample in data_samples]

    def compute_metrics(self, results: list[dict[str, Tensor]]) -> dict[str, float]:
        """The distances of all painted pictures to all paintings."""
        if not self._real:  # once
            data = ContentStyleDataset(self.paths, self.paths, "aligned", self.size, self.size)
            self._real = [self._features(data.picture(path).flip(0)) for path in self.paths]
        found = {}
        for name in self.networks:
            painted, paintings = (
                torch.stack([one[name] for one in each]) for each in (results, self._real)
            )
            fid, kid = frechet_and_kernel(painted, paintings)
            distance = memorization(painted, paintings)
            value = mifid(fid, distance, self.eps)
            found |= {
                f"{name}/FID": fid,
                f"{name}/KID": kid,
                f"{name}/MiFID": value,
                f"{name}/distance": distance,
                f"{name}/copied": float(value == inf),
            }
        return found
