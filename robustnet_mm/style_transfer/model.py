"""Arbitrary style transfer on a woven network: the paper's third task.

A content and a style are read from the towers of one `RobustNet`, a transfer joins them, and a
decoder paints the result (paper, section 5.3 names the task; the parts are those of AdaIN and
StyTr2).
"""

import logging
from collections.abc import Mapping, Sequence
from math import lcm

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from robustnet_mm.arguments import (
    check_choice,
    check_dict,
    check_whole,
    is_number,
)
from robustnet_mm.models import RobustNet
from robustnet_mm.registry import MODELS, build_part

from .decoder import MirroredDecoder
from .discriminator import discriminator_losses
from .inputs import batch_of, for_pictures, shares_of
from .losses import PerceptualLoss, total_variation, weights_of
from .pixels import to_bytes
from .preprocessor import StyleSample
from .readers import SOURCES, TowerReader
from .transfer import TRANSFERS, Statistics

STRIDES = (4, 8)
_BACKBONE = "dict(type='robustnet_mm.RobustNet', cnn=dict(...), vit=dict(...))"


@MODELS.register_module()
class RobustStyleTransfer(BaseModel):
    """Paints a content in a style, both of any size.

    Args:
        backbone: Config of a `RobustNet`, woven in any direction, frozen or trained
            (`frozen_stages` of its towers). Its `data_norm`, mean 0 and deviation 255, says that
            pictures come in 0..1; no other one is taken.
        loss: Config of a `PerceptualLoss`; None for a model that is only used.
        content_from: 'cnn', 'vit' or 'both': the towers that the content is read from.
        style_from: The same for the style.
        transfer: 'attention' (three layers of cross-attention) or 'adain'.
        width: Channels of the map that is stylised.
        stride: Its stride in pixels, 4 or 8.
        loss_weights: What differs from `losses.WEIGHTS`.
        discriminator: Config of a discriminator, for the adversarial branch; then `optim_wrapper`
            has one for 'generator' and one for 'discriminator' (OptimWrapperDict).
        data_preprocessor: Config of a `StylePreprocessor`.
        init_cfg: As in mmengine.

    Raises:
        ValueError: An unknown name, or settings that do not fit each other.
    """

    def __init__(
        self,
        backbone: Mapping,
        loss: Mapping | None = None,
        content_from: str = "both",
        style_from: str = "both",
        transfer: str = "attention",
        width: int = 256,
        stride: int = 8,
        loss_weights: Mapping | None = None,
        discriminator: Mapping | None = None,
        data_preprocessor: Mapping | None = None,
        init_cfg=None,
    ):
        super().__init__(data_preprocessor, init_cfg)
        check_dict("backbone", backbone, _BACKBONE)
        check_choice("content_from", content_from, SOURCES)
        check_choice("style_from", style_from, SOURCES)
        check_choice("transfer", transfer, TRANSFERS)
        if stride not in STRIDES:
            raise ValueError(f"stride must be 4 or 8, got {stride!r}")
        check_whole("width", width, 32)
        if width % 32:
            raise ValueError(f"width must be a multiple of 32 (heads, halvings), got {width}")
        self.weights = weights_of(loss_weights)
        self.backbone = build_part("backbone", for_pictures(backbone), _BACKBONE)
        if not isinstance(self.backbone, RobustNet) or self.backbone.out_type != "towers":
            raise ValueError(
                f"backbone must be a RobustNet with out_type='towers', got {dict(backbone)}"
            )
        self.content_from, self.style_from = content_from, style_from
        towers = {*SOURCES[content_from], *SOURCES[style_from]}
        self.reader = TowerReader(self.backbone, width, stride, towers)
        self.transfer = TRANSFERS[transfer](width)
        self.decoder = MirroredDecoder(width, stride)
        self.stride = stride
        self._freeze_what_nothing_reads()
        self.perceptual: PerceptualLoss | None = None if loss is None else MODELS.build(loss)
        self.discriminator = None if discriminator is None else MODELS.build(discriminator)

    def _freeze_what_nothing_reads(self):
        """Parameters on which no result depends have no gradient, and DDP would wait for one."""
        trained = {name: p for name, p in self.named_parameters() if p.requires_grad}
        was, side = self.training, 2 * self.least_side
        self.eval()
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            pictures = torch.rand(1, 3, side, side)
            result = self.stylize(pictures, [pictures]).sum()
            found = torch.autograd.grad(result, list(trained.values()), allow_unused=True)
        self.train(was)
        unread = [name for name, grad in zip(trained, found, strict=True) if grad is None]
        for name in unread:
            trained[name].requires_grad_(False)
        if unread:
            print_log(
                f"{len(unread)} tensors that content_from={self.content_from!r}, style_from="
                f"{self.style_from!r} and the weave do not read are not trained: {unread[0]}, ...",
                "current",
                logging.WARNING,
            )

    @property
    def least_side(self) -> int:
        """Pixels that a picture has at least on each side: a patch of the ViT."""
        return max(*self.backbone.vit.patch_size, 2 * self.stride)

    @property
    def grid_step(self) -> int:
        """Pixels by which a picture moves and still falls on the grids of both towers alike."""
        return lcm(*self.backbone.vit.patch_size, self.backbone.out_strides[-1])

    def _read(self, pictures: Tensor, name: str, *sources: str) -> list[Tensor]:
        """One look at (N, 3, H, W) in 0..1: what each source says of it, (N, C, h, w).

        h and w are the sides over `stride`, rounded up.
        """
        height, width = pictures.shape[-2:]
        if min(height, width) < self.least_side:
            raise ValueError(
                f"a {name} must have {self.least_side} pixels on each side at least (a patch of "
                f"the ViT), got {height} x {width}: enlarge it"
            )
        rest = (-width % self.stride, -height % self.stride)
        pictures = F.pad(pictures, (0, rest[0], 0, rest[1]), mode="reflect")
        size = tuple(side // self.stride for side in pictures.shape[-2:])
        outputs = self.backbone(pictures)
        return [self.reader(outputs, source, size) for source in sources]

    def _decode(self, feat: Tensor, like: Tensor) -> Tensor:
        """A picture of the size of `like`, to the pixel."""
        return self.decoder(feat)[..., : like.size(-2), : like.size(-1)]

    def read_style(self, pictures: Tensor) -> Tensor:
        """What `paint` takes of a style, for many contents: (N, 3, H, W) in 0..1 -> (N, C, h, w).

        Raises:
            ValueError: A picture smaller than a patch.
        """
        return self._read(pictures, "style", self.style_from)[0]

    def read_content(self, pictures: Tensor) -> Tensor:
        """`read_style` of contents, for what `paint` is told of the `whole`."""
        return self._read(pictures, "content", self.content_from)[0]

    def paint(
        self,
        contents: Tensor,
        styles: Sequence[Tensor],
        shares: Sequence[float] | None = None,
        alpha: float = 1.0,
        whole: Statistics | None = None,
    ) -> Tensor:
        """The contents in the styles: (N, 3, H, W) -> (N, 3, H, W), RGB around 0..1.

        Args:
            contents: Pictures in 0..1.
            styles: Of `read_style`, each (N, C, h, w) or (1, C, h, w).
            shares: How much of each style; they are divided by their sum. Equal by default.
            alpha: 0 is the content as the decoder paints it, 1 is the style in full.
            whole: Where the contents are pieces of larger pictures, the mean and deviation of each
                channel of `read_content` over the whole of them, (N, C, 1, 1) each.

        Raises:
            ValueError: A picture smaller than a patch, alpha out of [0, 1], or shares that are
                negative, all zero, or not as many as the styles.
        """
        if not is_number(alpha) or not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in 0..1, got {alpha!r}")
        content = self.read_content(contents)
        if alpha > 0:
            styles = [style.expand(content.size(0), -1, -1, -1) for style in styles]
            parts = zip(shares_of(shares, len(styles)), styles, strict=True)
            styled = sum(share * self.transfer(content, s, whole) for share, s in parts if share)
            content = styled if alpha == 1 else content.lerp(styled, alpha)
        return self._decode(content, contents)

    def stylize(self, contents: Tensor, styles: Sequence[Tensor], shares=None, alpha=1.0) -> Tensor:
        """`paint` of pictures: `styles` are (N, 3, H, W) in 0..1, each of its own size."""
        return self.paint(contents, [self.read_style(style) for style in styles], shares, alpha)

    def forward(self, inputs: Mapping, data_samples=None, mode: str = "tensor"):
        """As in mmengine.

        Args:
            inputs: `content` and `style`, lists of (3, H, W) in 0..1.
            data_samples: A `StyleSample` for each pair.
            mode: 'tensor' gives the pictures as a list, 'predict' the samples with `picture`,
                'loss' the terms of the loss by name.

        Raises:
            ValueError: Another mode, or a training with pictures of different sizes.
        """
        contents, styles = inputs["content"], inputs["style"]
        if mode == "loss":
            return self._losses(batch_of(contents, "content"), batch_of(styles, "style"))[0]
        if mode not in ("tensor", "predict"):
            raise ValueError(f"mode must be one of tensor, predict, loss, got {mode!r}")
        pairs = zip(contents, styles, strict=True)
        pictures = [self.stylize(content[None], [style[None]])[0] for content, style in pairs]
        if mode == "tensor":
            return pictures
        samples = data_samples or [StyleSample() for _ in pictures]
        for sample, picture in zip(samples, pictures, strict=True):
            sample.picture = to_bytes(picture)
        return samples

    def _losses(self, contents: Tensor, styles: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The terms of the loss, weighed, those of weight zero left out; and the painted pictures.

        Raises:
            ValueError: The model has no loss.
        """
        if self.perceptual is None:
            raise ValueError("the model has no loss: give loss=dict(type='...PerceptualLoss')")
        judge, weights = self.perceptual, self.weights
        both = {"content": contents, "style": styles}
        sources = self.content_from, self.style_from
        read = [self._read(p, at, *dict.fromkeys(sources)) for at, p in both.items()]
        read = [(maps[0], maps[-1]) for maps in read]  # as a content, as a style
        (content, _), (_, style) = read
        painted = self._decode(self.transfer(content, style), contents)
        losses = dict(total_variation=total_variation(painted))
        paints = weights["content"] or weights["style"]
        if paints or weights["identity_feature"]:
            of_content, of_style = map(judge.features, both.values())
        if paints:
            of_painted = judge.features(painted)
            losses["content"] = judge.content(of_painted, of_content, of_style)
            losses["style"] = judge.style(of_painted, of_style)
        if weights["identity_pixel"] or weights["identity_feature"]:
            pairs = list(zip(read, both.values(), strict=True))
            same = [self._decode(self.transfer(*maps), pictures) for maps, pictures in pairs]
            pairs = zip(same, both.values(), strict=True)
            losses["identity_pixel"] = sum(F.mse_loss(*pair) for pair in pairs)
        if weights["identity_feature"]:
            features = zip(same, (of_content, of_style), strict=True)
            losses["identity_feature"] = sum(
                judge.identity(judge.features(pictures), target) for pictures, target in features
            )
        if self.discriminator is not None:
            losses["adversarial"] = -self.discriminator(painted).mean()
        weighed = {f"loss_{k}": weights[k] * loss for k, loss in losses.items() if weights[k]}
        return weighed, painted

    def train_step(self, data, optim_wrapper):
        """As in mmengine; with a discriminator, a step of each (hinge loss, R1 on paintings).

        Raises:
            ValueError: A discriminator, and no OptimWrapperDict.
        """
        if self.discriminator is None:
            return super().train_step(data, optim_wrapper)
        if not isinstance(optim_wrapper, OptimWrapperDict):
            raise ValueError(
                "a discriminator has its own optimiser: set optim_wrapper=dict(constructor="
                "'robustnet_mm.AdversarialConstructor', generator=..., discriminator=...)"
            )
        inputs = self.data_preprocessor(data, True)["inputs"]
        contents, styles = (batch_of(inputs[name], name) for name in ("content", "style"))
        self.discriminator.requires_grad_(False)
        with optim_wrapper["generator"].optim_context(self):
            losses, painted = self._losses(contents, styles)
        total, logged = self.parse_losses(losses)
        optim_wrapper["generator"].update_params(total)
        self.discriminator.requires_grad_(True)
        with optim_wrapper["discriminator"].optim_context(self.discriminator):
            penalty = self.weights["gradient_penalty"]
            losses = discriminator_losses(self.discriminator, styles, painted.detach(), penalty)
        total, others = self.parse_losses(losses)
        optim_wrapper["discriminator"].update_params(total)
        return logged | {f"discriminator_{name}": value for name, value in others.items()}
