"""From a stylised map back to a picture."""

from torch import Tensor, nn


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="reflect")
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # or the map fades away
    nn.init.zeros_(conv.bias)
    return conv


class MirroredDecoder(nn.Sequential):
    """An encoder of VGG's kind backwards: (N, C, h, w) -> (N, 3, s*h, s*w), RGB around 0..1.

    At each doubling (nearest) the channels halve; reflected borders leave no frame in the picture.
    The output is not clamped: a loss needs its gradient outside of 0..1, too.

    Args:
        width: Channels C of the stylised map.
        stride: s, 4 or 8.
    """

    def __init__(self, width: int, stride: int):
        doublings = {4: 2, 8: 3}[stride]
        layers = [_conv(width, width // 2), nn.ReLU()]
        for k in range(1, doublings + 1):
            at = width // 2**k
            out = width // 2 ** (k + 1) if k < doublings else 3
            layers += [nn.Upsample(scale_factor=2), _conv(at, at), nn.ReLU(), _conv(at, out)]
            layers += [nn.ReLU()] if k < doublings else []
        nn.init.constant_(layers[-1].bias, 0.5)  # pictures in 0..1 start grey and not black
        super().__init__(*layers)

    def forward(self, feat: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 3, s*h, s*w); h and w are at least 2"""
        return super().forward(feat)
