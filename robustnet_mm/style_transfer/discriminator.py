"""The paper's adversarial branch: is this patch of a painting?"""

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from robustnet_mm.arguments import check_whole
from robustnet_mm.registry import MODELS


@MODELS.register_module()
class PatchDiscriminator(nn.Module):
    """Transformer blocks on patches, a score for each: (N, 3, H, W) -> (N, h, w).

    Positions are not told, so that it takes any size: a patch is judged by what it looks like and
    by what stands in the picture with it.

    Args:
        patch_size: Side of a patch in pixels; what is left over at the border is not judged.
        width: Channels of a token.
        depth: Number of blocks.
        num_heads: In each.
    """

    def __init__(self, patch_size: int = 16, width: int = 192, depth: int = 4, num_heads: int = 3):
        super().__init__()
        for name, value in dict(patch_size=patch_size, width=width, depth=depth).items():
            check_whole(name, value, 1)
        check_whole("num_heads", num_heads, 1, width)
        if width % num_heads:
            raise ValueError(f"width must be a multiple of num_heads={num_heads}, got {width}")
        self.embed = nn.Conv2d(3, width, patch_size, patch_size)
        self.blocks = nn.Sequential(*(Block(width, num_heads) for _ in range(depth)))
        for block in self.blocks:  # the fused kernel has no second derivative, which R1 needs
            block.attn.fused_attn = False
        self.score = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """RGB around 0..1 -> one score for each patch, above zero for a painting"""
        feat = self.embed(2 * pictures - 1)
        tokens = self.blocks(feat.flatten(2).transpose(1, 2))
        return self.score(tokens).squeeze(2).unflatten(1, feat.shape[-2:])


def discriminator_losses(
    discriminator: nn.Module, paintings: Tensor, painted: Tensor, penalty: float
) -> dict[str, Tensor]:
    """Hinge loss, and R1: `penalty` / 2 times the squared slope at the paintings.

    (N, 3, H, W) twice; `painted` is detached from what painted it (Mescheder et al. 2018 for R1).
    """
    paintings = paintings.detach().requires_grad_()
    real, fake = discriminator(paintings), discriminator(painted)
    (slope,) = torch.autograd.grad(real.sum(), paintings, create_graph=True)
    return dict(
        loss_hinge=F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        loss_gradient_penalty=penalty / 2 * slope.square().sum((1, 2, 3)).mean(),
    )
