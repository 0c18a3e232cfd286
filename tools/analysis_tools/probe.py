"""What a backbone knows of your classes before anything is trained on them.

    python tools/analysis_tools/probe.py CONFIG [CHECKPOINT] --train DIR --test DIR

Each folder holds one folder of images for each class. The vectors of each tower (the mean of the
CNN's last map, of the ViT's patch tokens), and of both side by side, are judged by their nearest
neighbours and by a logistic regression (the linear probe; scikit-learn). CONFIG is of any model;
its backbone alone is read. Without CHECKPOINT it starts as the config says (init_cfg).
"""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

from robustnet_mm.datasets import positive
from robustnet_mm.datasets.class_folders import subfolders
from robustnet_mm.engine.backbones import build_backbone
from robustnet_mm.engine.checks import check_normalization, preprocessor_of
from robustnet_mm.engine.launch import read_config
from robustnet_mm.models.towers.normalize import IMAGENET_NORM
from robustnet_mm.selfsup import extract, knn_accuracy


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="k-NN and linear probe of a backbone")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", nargs="?", help="of that config's model, or of its backbone")
    parser.add_argument("--train", required=True, metavar="DIR", help="images with labels")
    parser.add_argument("--test", required=True, metavar="DIR", help="images that are asked")
    parser.add_argument("--size", default="224", help="side of the images in pixels")
    parser.add_argument("--batch", default="64")
    parser.add_argument("--k", default="20", help="neighbours")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args()


def normalizer_of(cfg: Config) -> nn.Module:
    """Normalises as the config's own does; as ImageNet where it has none."""
    given = preprocessor_of(cfg)
    norm = {key: list(given.get(key) or IMAGENET_NORM[key]) for key in ("mean", "std")}
    cfg = dict(type="mmpretrain.SelfSupDataPreprocessor", **norm, to_rgb=True)
    return MODELS.build(cfg).to(get_device())


def loader_of(folder: str, args: argparse.Namespace):
    """The images of a folder, in order, resized and cut to a square.

    Raises:
        ValueError: No such folder.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"--train and --test must be folders, got {folder}: no such folder")
    size = positive("--size", args.size)
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="ResizeEdge", scale=size, backend="pillow", interpolation="bicubic"),
        dict(type="CenterCrop", crop_size=size),
        dict(type="PackInputs"),
    ]
    dataset = dict(type="CustomDataset", data_prefix=folder, pipeline=pipeline)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return Runner.build_dataloader(
            dict(
                batch_size=positive("--batch", args.batch),
                num_workers=0,
                sampler=dict(type="DefaultSampler", shuffle=False),
                collate_fn=dict(type="default_collate"),
                dataset=dict(dataset, _scope_="mmpretrain"),
            )
        )


def linear_probe(train: Tensor, labels: Tensor, test: Tensor, wanted: Tensor) -> float:
    """Top-1 of a logistic regression on standardised vectors, in percent."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    probe.fit(train.numpy(), labels.numpy())
    return 100 * float(probe.score(test.numpy(), wanted.numpy()))


def main():
    args = parse_args()
    names = [subfolders(folder) for folder in (args.train, args.test) if Path(folder).is_dir()]
    loaders = [loader_of(folder, args) for folder in (args.train, args.test)]
    if names[0] != names[1]:
        raise ValueError(
            f"--train and --test must hold the same classes, got {names[0]} and {names[1]}"
        )
    cfg = read_config(args.config, args.cfg_options)
    check_normalization(cfg)
    backbone, preprocessor = build_backbone(cfg, args.checkpoint), normalizer_of(cfg)
    (train, labels), (test, wanted) = (extract(backbone, preprocessor, each) for each in loaders)
    if len(train) > 1:
        for found in (train, test):
            found["both"] = torch.cat([nn.functional.normalize(each) for each in found.values()], 1)
    print("| vectors | channels | k-NN | linear probe |\n|---|---|---|---|")
    for name in train:
        asked = train[name], labels, test[name], wanted
        near, line = knn_accuracy(*asked, k=positive("--k", args.k)), linear_probe(*asked)
        print(f"| {name} | {train[name].size(1)} | {near:.2f} % | {line:.2f} % |")


if __name__ == "__main__":
    main()
