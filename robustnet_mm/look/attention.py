"""What the ViT tower attends to, recomputed from the q and k of its blocks.

The blocks themselves keep their fused attention, which never makes these matrices. One block's
matrix is in memory at a time. L = P + h*w tokens, prefix tokens first.
"""

from collections.abc import Callable
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn

from robustnet_mm.models.probe import backbone_of, undisturbed
from robustnet_mm.models.towers.vit_families import attention_matrix

from .outputs import one_by_one
from .places import Layout, find_block, vit_of


@torch.no_grad()
def visit_attention(model: nn.Module, image: Tensor, visit: Callable) -> None:
    """Call `visit(block, matrix (1, heads, L, L), layout)` for each block while the model runs."""
    vit, handles = vit_of(model), []
    if others := {type(block).__name__ for block in vit.blocks if not hasattr(block, "attn")}:
        raise ValueError(
            f"attention inside a {', '.join(others)} cannot be recomputed, which has no module of "
            "its own for it: take another ViT, or `features`"
        )
    with undisturbed(model):
        layout = Layout(vit, image)
        for index, block in enumerate(vit.blocks):

            def hook(attn, args, kwargs, index=index):
                visit(index, layout.assemble(attention_matrix(attn, *args, **kwargs)), layout)

            handles.append(block.attn.register_forward_pre_hook(hook, with_kwargs=True))
        try:
            backbone_of(model)(image)
        finally:
            for handle in handles:
                handle.remove()


def attention(
    model: nn.Module,
    images: Tensor,
    block: int = -1,
    point: tuple[int, int] | None = None,
) -> np.ndarray:
    """What one token attends to, head by head.

    Args:
        model: A model with a ViT tower.
        images: (N, 3, H, W) after the data preprocessor.
        block: Number of the block.
        point: (x, y) in pixels: the patch that lies there asks; None: the class token.

    Returns:
        (N, heads, h, w): the share of each patch; what is missing to one went to prefix tokens.

    Raises:
        ValueError: No such block or point, no class token, or no ViT tower.
    """
    vit = vit_of(model)
    chosen = find_block(len(vit.blocks), block)
    found = []

    def visit(index, matrix, layout):
        if index == chosen:
            patches = matrix[0, :, query_row(layout, images.shape[-2:], point), layout.num_prefix :]
            found.append(patches.unflatten(-1, layout.grid).float().cpu().numpy())

    for image in one_by_one(images):
        visit_attention(model, image, visit)
    return np.stack(found)


def query_row(layout: Layout, shape: tuple[int, int], point: tuple[int, int] | None) -> int:
    """The token that asks: the patch at a point, or the class token.

    Raises:
        ValueError: The point lies outside the image, or there is no class token.
    """
    if point is None:
        if not layout.has_class_token:
            raise ValueError("this ViT has no class token: name a point (x, y) whose patch asks")
        return 0
    (x, y), (height, width) = point, shape
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(
            f"point must be (x, y) with x in 0..{width - 1} and y in 0..{height - 1}, in pixels of "
            f"the image that the model sees, got {tuple(point)}"
        )
    p, q = layout.patch_size
    return layout.num_prefix + int(y // p) * layout.grid[1] + int(x // q)


def rollout(model: nn.Module, images: Tensor) -> np.ndarray:
    """Attention rollout (Abnar and Zuidema, 2020): (N, L, L), rows sum to one.

    The product over blocks, first block rightmost, of (A + I) / 2, where A is the mean over heads
    and I is the residual path. What squeezes add on the way is not followed.
    """
    found = []
    for image in one_by_one(images):
        product = []

        def visit(index, matrix, layout, product=product):
            mean = matrix[0].float().mean(0)
            mixed = (mean + torch.eye(len(mean), device=mean.device)) / 2
            product[:] = [mixed @ product[0]] if product else [mixed]

        visit_attention(model, image, visit)
        found.append(product[0].cpu().numpy())
    return np.stack(found)


def attention_distance(
    model: nn.Module, images: Tensor, size: tuple[int, int] | None = None
) -> np.ndarray:
    """How far patches look: (N, blocks, heads), in pixels of the image that the model sees.

    The mean over patches of the distance to what they attend to, weighted by the attention, in
    which prefix tokens are left out; see `uniform_distance` for what a global block would give.

    Args:
        model: A model with a ViT tower.
        images: (N, 3, H, W) after the data preprocessor.
        size: Height and width without padding, whose patches are left out too.
    """
    found = []
    for image in one_by_one(images):
        rows = []

        def visit(index, matrix, layout, rows=rows):
            patches = matrix[0, :, layout.num_prefix :, layout.num_prefix :].float()
            real = real_patches(layout, size).to(patches.device)
            patches = patches[:, real][..., real]
            patches = patches / patches.sum(-1, keepdim=True).clamp_min(1e-12)
            distances = patch_distances(layout, size).to(patches)
            rows.append((patches * distances).sum(-1).mean(-1).cpu().numpy())

        visit_attention(model, image, visit)
        found.append(np.stack(rows))
    return np.stack(found)


def real_patches(layout: Layout, size: tuple[int, int] | None) -> Tensor:
    """Which patches hold some of the image, (h*w,) bool: all, where no size is given."""
    held = torch.ones(layout.grid, dtype=torch.bool)
    if size is not None:
        rows, columns = (ceil(a / b) for a, b in zip(size, layout.patch_size, strict=True))
        held[rows:], held[:, columns:] = False, False
    return held.flatten()


def patch_distances(layout: Layout, size: tuple[int, int] | None = None) -> Tensor:
    """Distance in pixels between the centres of all L patches that are no padding: (L, L)."""
    h, w = layout.grid
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    sides = torch.tensor(layout.patch_size)
    places = torch.stack([rows.flatten(), columns.flatten()], 1) * sides
    places = places[real_patches(layout, size)]
    return torch.cdist(places.float(), places.float())


def uniform_distance(model: nn.Module, image: Tensor, size: tuple[int, int] | None = None) -> float:
    """What `attention_distance` would give if all patches attended to all alike, in pixels."""
    return float(patch_distances(Layout(vit_of(model), image), size).mean())
