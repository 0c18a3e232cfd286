"""Two published networks into one checkpoint and its configs: nothing is trained.

    python tools/model_converters/compose.py --cnn resnet50 --cnn-weights resnet50.pth \
        --vit deit_base_patch16_224 --vit-weights deit_base.pth --out pair.pth

writes pair.pth, pair.py (a classifier that names the classes before any training: each head is
copied from its own network) and pair_mask-rcnn.py (a detector that starts from pair.pth).
"""

import argparse
import io
import re
import sys
from pathlib import Path

import timm
import torch
from mmengine.config import Config, DictAction

from robustnet_mm.files import WholeFileBackend
from robustnet_mm.models import CONV_ARCHS, RobustNet, TowerNeck, TwoTowerHead
from robustnet_mm.weights import PretrainedTower
from robustnet_mm.weights.convert import has_folded_norms, to_published_names
from robustnet_mm.weights.downloads import fetch_weights
from robustnet_mm.weights.files import find_state_dict, read_checkpoint

CLASSIFIER = '''"""{title}: composed of two published networks, not trained.

    python tools/test.py {name}.py {name}.pth     (ImageNet-1k in data/imagenet)
    python tools/train.py {name}.py               fine-tunes both towers
"""

_base_ = __import__("robustnet_mm").__path__[0] + "/.mim/configs/_base_/imagenet_20e.py"
{settings}'''
DETECTOR = '''"""Mask R-CNN on {title}, composed of two published networks.

    python tools/train.py {name}_mask-rcnn.py     (COCO in data/coco)
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/coco_instance.py",
    __import__("robustnet_mm").__path__[0] + "/.mim/configs/_base_/coco_1x.py",
]
{settings}'''


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compose a pretrained CNN and a pretrained ViT")
    for tower, example in (("cnn", "convnext_tiny.fb_in1k"), ("vit", "vit_base_patch16_224.mae")):
        parser.add_argument(f"--{tower}", required=True, metavar="NAME", help=f"e.g. {example}")
        parser.add_argument(f"--{tower}-weights", metavar="FILE", help="its published weights")
        parser.add_argument(
            f"--{tower}-args",
            nargs="+",
            action=DictAction,
            default={},
            metavar="KEY=VALUE",
            help="model_args of that network, e.g. bn_eps=0.001",
        )
    parser.add_argument("--out", required=True, metavar="FILE.pth", help="what to write")
    parser.add_argument("--weave", default="even", choices=["even", "paper"])
    parser.add_argument("--num-classes", type=int, help="by default that of the files")
    parser.add_argument("--download", action="store_true", help="get what has no FILE from timm")
    parser.add_argument(
        "--allow-missing",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="keys that the files need not have, e.g. 'model.head' where one has no classifier",
    )
    return parser.parse_args()


def find_file(tower: str, name: str, weights: str | None, download: bool) -> str:
    """The file of a network, downloaded if that was asked for."""
    if weights:
        return weights
    if download:
        return str(fetch_weights(name))
    raise ValueError(
        f"--{tower}-weights is missing: name the file of {name}, or add --download to get timm's"
    )


def find_classes(tower: str, path: str) -> tuple[int | None, bool]:
    """Number of classes of a file's own classifier, and whether it norms after mean pooling."""
    weights, _, _ = to_published_names(find_state_dict(read_checkpoint(path)))
    pattern = r"(fc|head\.fc|head|classifier|conv_cls_head)\.weight"
    found = [len(v) for k, v in weights.items() if re.fullmatch(pattern, k) and v.ndim == 2]
    return (found[0] if found else None), "fc_norm.weight" in weights


def agree_on_classes(cnn: int | None, vit: int | None, asked: int | None) -> int:
    """The number of classes of both heads, whose logits are summed."""
    found = {name: number for name, number in (("cnn", cnn), ("vit", vit)) if number}
    if asked is None and len(set(found.values())) > 1:
        raise ValueError(
            f"the logits of both heads are summed, but the CNN's file has {cnn} classes and the "
            f"ViT's {vit}: take files of the same classes, or give --num-classes with "
            "--allow-missing for the head that starts fresh"
        )
    if asked is None and not found:
        raise ValueError(
            "neither file has a classifier: give --num-classes and --allow-missing "
            "'(model.)?(fc|head|classifier)' for heads that start fresh"
        )
    return asked or next(iter(found.values()))


def describe_towers(args: argparse.Namespace, mean_pooled: bool) -> tuple[dict, dict, dict, dict]:
    """Configs of the CNN, the ViT and their classifiers."""
    if args.cnn in CONV_ARCHS and not timm.is_model(args.cnn):
        cnn, cnn_head = dict(type="robustnet_mm.ConvTower", arch=args.cnn), {}
    else:
        cnn_head = dict(model_name=args.cnn)
        if args.cnn_args:
            cnn_head["model_args"] = dict(args.cnn_args)
        cnn = dict(type="robustnet_mm.TimmCNNTower", **cnn_head)
    vit_args = dict(args.vit_args)
    if mean_pooled:
        vit_args.setdefault("global_pool", "avg")
    vit_head = dict(model_name=args.vit)
    if vit_args:
        vit_head["model_args"] = vit_args
    return cnn, dict(type="robustnet_mm.ViTTower", **vit_head), cnn_head, vit_head


def make_detector(net: RobustNet, backbone: dict, checkpoint: str) -> dict:
    """What a Mask R-CNN on this backbone changes in the host's model."""
    init_cfg = dict(type="robustnet_mm.PretrainedTower", checkpoint=checkpoint)
    neck = TowerNeck(net.out_channels, net.embed_dims, num_levels=4)
    ours = dict(type="robustnet_mm.TowerNeck", in_channels=list(net.out_channels))
    ours |= dict(embed_dims=net.embed_dims, num_levels=4)
    fpn = dict(type="mmdet.FPN", in_channels=list(neck.out_channels), out_channels=256, num_outs=5)
    return dict(backbone=dict(_delete_=True, **backbone, init_cfg=init_cfg), neck=[ours, fpn])


def write(path: Path, content: bytes):
    WholeFileBackend().put(content, path)
    print(f"wrote {path}")


def write_config(out: Path, suffix: str, template: str, title: str, settings: dict):
    path = out.with_name(f"{out.stem}{suffix}.py")
    text = Config(settings).pretty_text
    write(path, template.format(title=title, name=out.stem, settings=text).encode())
    Config.fromfile(path)  # what was written can be read


def main():
    args = parse_args()
    out = Path(args.out)
    if out.suffix != ".pth":
        raise ValueError(f"--out must end with .pth, got {args.out!r}")
    files = {t: find_file(t, getattr(args, t), getattr(args, f"{t}_weights"), args.download)
             for t in ("cnn", "vit")}  # fmt: skip
    cnn_classes, _ = find_classes("cnn", files["cnn"])
    vit_classes, mean_pooled = find_classes("vit", files["vit"])
    num_classes = agree_on_classes(cnn_classes, vit_classes, args.num_classes)
    cnn, vit, cnn_head, vit_head = describe_towers(args, mean_pooled)
    backbone = dict(type="robustnet_mm.RobustNet", weave=args.weave, cnn=cnn, vit=vit)
    net = RobustNet(**{key: value for key, value in backbone.items() if key != "type"})
    cnn_head = cnn_head or dict(in_channels=net.out_channels[-1])
    head_cfg = dict(num_classes=num_classes, cnn=cnn_head, vit=vit_head)
    head = TwoTowerHead(**head_cfg)
    for tower in ("cnn", "vit"):
        load = PretrainedTower(files[tower], allow_missing=args.allow_missing)
        for module in (getattr(net, tower), getattr(head, tower)):
            load(module)
    if has_folded_norms(net.cnn.state_dict()):
        cnn["norm_eval"] = True
    weights = {f"backbone.{k}": v for k, v in net.state_dict().items()}
    weights |= {f"head.{k}": v for k, v in head.state_dict().items()}
    buffer = io.BytesIO()
    meta = dict(composed_of={"cnn": args.cnn, "vit": args.vit}, num_classes=num_classes)
    torch.save({"state_dict": weights, "meta": meta}, buffer)
    write(out, buffer.getvalue())
    title = f"{args.cnn} x {args.vit}"
    here = f"{{{{ fileDirname }}}}/{out.name}"
    write_config(out, "", CLASSIFIER, title, dict(
        model=dict(backbone=backbone, head=head_cfg), load_from=here))  # fmt: skip
    write_config(out, "_mask-rcnn", DETECTOR, title, dict(model=make_detector(net, backbone, here)))
    print(f"{title}: {len(net.exchanges)} exchanges, {num_classes} classes, pyramid "
          f"{net.out_channels} at strides {net.out_strides}")  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        sys.exit(f"compose: {error}")
