"""Barlow Twins for a woven network: both towers learn from images without labels."""

from collections.abc import Mapping, Sequence

from mmengine.dist import get_world_size
from mmengine.model import BaseModel
from torch import Tensor, nn

from robustnet_mm.arguments import check_dict, check_number
from robustnet_mm.models import RobustNet
from robustnet_mm.registry import MODELS, build_part

from .correlation import barlow_twins_loss, check_batch, cross_correlation, signs
from .features import pooled

_BACKBONE = "dict(type='robustnet_mm.RobustNet', arch='tiny-patch16')"
_PROJECTOR = "dict(type='mmpretrain.NonLinearNeck', hid_channels=8192, out_channels=8192, ...)"


@MODELS.register_module()
class TwoTowerBarlowTwins(BaseModel):
    """One projector a tower, and the loss of each; beside them, that of one tower with the other.

    loss = BT(c1, c2) + BT(v1, v2) + cross_weight * (BT(c1, v2) + BT(v1, c2)), where c1 is what the
    CNN's projector makes of the first view, and BT is `barlow_twins_loss` of `cross_correlation`.

    Args:
        backbone: Config of a `RobustNet`; both of its towers learn.
        projector: Config of mmpretrain's `NonLinearNeck`, without `in_channels`; one is built for
            each tower. On several processes `sync_bn='torch'` of the config joins its BatchNorms.
        cross_weight: gamma. 0 leaves the cross-tower terms out.
        off_diagonal_weight: lambda of Barlow Twins.
        data_preprocessor: Config of mmpretrain's `SelfSupDataPreprocessor`.
        init_cfg: As in mmengine.

    The log also has each tower's diagonal (mean, 1 is best) and off_diagonal (root mean square, 0
    is best).

    Raises:
        ValueError: Another backbone, or a weight that is negative.
    """

    def __init__(
        self,
        backbone: Mapping,
        projector: Mapping,
        cross_weight: float = 0.0,
        off_diagonal_weight: float = 0.0051,
        data_preprocessor: Mapping | None = None,
        init_cfg=None,
    ):
        super().__init__(data_preprocessor, init_cfg)
        check_dict("backbone", backbone, _BACKBONE)
        check_dict("projector", projector, _PROJECTOR)
        check_number("cross_weight", cross_weight)
        check_number("off_diagonal_weight", off_diagonal_weight)
        self.backbone = build_part("backbone", backbone, _BACKBONE)
        if not isinstance(self.backbone, RobustNet) or self.backbone.out_type != "towers":
            raise ValueError(
                "backbone must be a RobustNet with out_type='towers', got "
                f"{dict(backbone)}: a single tower trains by mmpretrain's BarlowTwins"
            )
        widths = dict(cnn=self.backbone.out_channels[-1], vit=self.backbone.embed_dims)
        settings = dict(projector, with_avg_pool=False)
        self.projectors = nn.ModuleDict(
            {
                name: MODELS.build(dict(settings, in_channels=width))
                for name, width in widths.items()
            }
        )
        self.cross_weight, self.off_diagonal_weight = cross_weight, off_diagonal_weight

    def project(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> tower -> (N, D)"""
        found = pooled(self.backbone(images))
        return {name: self.projectors[name]((vector,))[0] for name, vector in found.items()}

    def correlations(self, views: Sequence[Tensor]) -> dict[str, Tensor]:
        """Two views, (N, 3, H, W) each -> tower -> (D, D)"""
        one, other = map(self.project, views)
        return {name: cross_correlation(one[name], other[name]) for name in one}

    def forward(self, inputs, data_samples=None, mode: str = "tensor"):
        """As in mmengine.

        Args:
            inputs: Two views of the images, (N, 3, H, W) each; one of them for 'tensor'.
            data_samples: Not read.
            mode: 'tensor' gives the backbone's vectors by tower, 'loss' the losses.

        Raises:
            ValueError: Another mode, not two views, or a batch of one image.
        """
        if mode == "tensor":
            return pooled(self.backbone(inputs))
        if mode != "loss":
            raise ValueError(f"mode must be one of tensor, loss, got {mode!r}")
        if len(inputs) != 2:
            raise ValueError(
                f"inputs must be two views of each image, got {len(inputs)}: set the pipeline's "
                "dict(type='MultiView', num_views=[1, 1], transforms=[...])"
            )
        check_batch(len(inputs[0]) * get_world_size())
        one, other = map(self.project, inputs)
        losses = {}
        for name in one:
            correlation = cross_correlation(one[name], other[name])
            losses[f"loss_{name}"] = barlow_twins_loss(correlation, self.off_diagonal_weight)
            losses |= {f"{name}_{sign}": value for sign, value in signs(correlation).items()}
        if self.cross_weight:
            pairs = (one["cnn"], other["vit"]), (one["vit"], other["cnn"])
            crossed = (cross_correlation(*pair) for pair in pairs)
            terms = sum(barlow_twins_loss(each, self.off_diagonal_weight) for each in crossed)
            losses["loss_cross"] = self.cross_weight * terms
        return losses
