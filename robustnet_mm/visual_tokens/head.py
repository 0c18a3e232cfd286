"""The classifier on visual tokens, for mmpretrain; configs import it by `custom_imports`."""

from mmpretrain.models import LinearClsHead
from torch import Tensor

from robustnet_mm.registry import MODELS

from .resnet import TokenOutputs


@MODELS.register_module()
class VTTokenHead(LinearClsHead):
    """The mean of the tokens and a linear layer: tokens (N, L, D) -> logits (N, num_classes).

    Args:
        kwargs: Of mmpretrain's `LinearClsHead`: `num_classes`, `in_channels` (the backbone's
            `token_channels`), `loss`, `topk`.
    """

    def pre_logits(self, feats: TokenOutputs) -> Tensor:
        """-> (N, D)

        Raises:
            ValueError: The backbone gives no tokens.
        """
        if not isinstance(feats, TokenOutputs):
            raise ValueError(
                "VTTokenHead reads tokens, got maps only: take backbone.type="
                "'robustnet_mm.VTResNet', or head.type='LinearClsHead' with a pooling neck"
            )
        return feats.tokens.mean(1)
