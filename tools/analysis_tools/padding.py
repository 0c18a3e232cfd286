"""How much the padding of a batch changes the maps inside an image, tower by tower.

    python tools/analysis_tools/padding.py PHOTOS --cnn mobilenetv2_100 --cnn-weights FILE \\
        --vit deit_tiny_patch16_224 --vit-weights FILE

Each photograph is run alone, at 224 x 224, and at the top left of a larger batch of zeros, as hosts
make one. Shown is the median over photographs of |alone - padded| / |alone| inside the image: for
the maps of the CNN and of ResNet-50, level by level, and for the ViT's patch tokens, without and
with the sizes of the images. Writes results.json and results.md into --out.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.io import ImageReadMode, read_image
from torchvision.transforms.v2.functional import center_crop, normalize, resize

from robustnet_mm.models import ConvTower, TimmCNNTower, ViTTower
from robustnet_mm.models.towers.normalize import IMAGENET_NORM

SIDE = 224
BATCHES = ((224, 256), (224, 320), (320, 320), (448, 448))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what padding changes")
    parser.add_argument("photos", help="folder of JPEG files")
    parser.add_argument("--cnn", default="mobilenetv2_100")
    parser.add_argument("--cnn-weights", help="file; default: random weights")
    parser.add_argument("--vit", default="deit_tiny_patch16_224")
    parser.add_argument("--vit-weights", help="file; default: random weights")
    parser.add_argument("--resnet-weights", help="file of ResNet-50; default: random weights")
    parser.add_argument("--most", type=int, default=50, help="photographs")
    parser.add_argument("--out", default="work_dirs/padding")
    return parser.parse_args()


def read(folder: str, most: int) -> Tensor:
    files = sorted(Path(folder).glob("*.jpg"))[:most]
    if not files:
        raise SystemExit(f"there is no *.jpg in {folder!r}")
    crops = [center_crop(resize(read_image(str(file), ImageReadMode.RGB), SIDE), SIDE)
             for file in files]  # fmt: skip
    return normalize(torch.stack(crops).float(), *(IMAGENET_NORM[key] for key in ("mean", "std")))


def tower(kind: type[nn.Module], name: str, weights: str | None, photos: Tensor) -> nn.Module:
    """With its weights, or with random ones whose BatchNorm knows the photographs."""
    loaded = weights and dict(type="robustnet_mm.PretrainedTower", checkpoint=weights)
    model = kind(name, init_cfg=loaded)
    model.init_weights()
    if weights is None and kind is not ViTTower:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all batches
                nn.init.ones_(module.weight)
        model.train()(photos)
    return model.eval()


def change(alone: Tensor, padded: Tensor) -> float:
    """Median over images of the relative change: both (N, ..., h, w), the second larger."""
    inside = padded[..., : alone.size(-2), : alone.size(-1)]
    norms = [x.flatten(1).norm(dim=1) for x in (alone - inside, alone)]
    return (norms[0] / norms[1]).median().item()


def tokens_as_map(vit: ViTTower, images: Tensor, sizes=None) -> Tensor:
    tokens, grid = vit(images, sizes)
    return tokens[:, vit.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid)


@torch.no_grad()
def main():
    args = parse_args()
    torch.manual_seed(0)
    photos = read(args.photos, args.most)
    cnn = tower(TimmCNNTower, args.cnn, args.cnn_weights, photos)
    vit = tower(ViTTower, args.vit, args.vit_weights, photos)
    resnet = tower(ConvTower, "resnet50", args.resnet_weights, photos)
    rows = {}
    for height, width in BATCHES:
        padded = pad(photos, (0, width - SIDE, 0, height - SIDE))
        row = {}
        for name, model in ((args.cnn, cnn), ("resnet50", resnet)):
            pairs = zip(model(photos), model(padded), strict=True)
            row[name] = [change(*pair) for pair in pairs]
        alone, sizes = tokens_as_map(vit, photos), [(SIDE, SIDE)] * len(photos)
        row[args.vit] = [change(alone, tokens_as_map(vit, padded))]
        row[f"{args.vit}, sizes given"] = [change(alone, tokens_as_map(vit, padded, sizes))]
        rows[f"{height} x {width}"] = row
    names = list(next(iter(rows.values())))
    lines = [f"| batch | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for batch, row in rows.items():
        cells = (" / ".join(f"{value:.3f}" for value in row[name]) for name in names)
        lines.append(f"| {batch} | {' | '.join(cells)} |")
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(dict(settings=vars(args), results=rows), indent=1))
    (out / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
