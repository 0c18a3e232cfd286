"""Look inside a model: one picture for each image, and an index of them all.

    python tools/analysis_tools/look.py KIND CONFIG CHECKPOINT IMAGES... --out-dir DIR
    python tools/analysis_tools/look.py weights CONFIG CHECKPOINT... --out-dir DIR

IMAGES are files and folders; DIR/index.html shows everything made there. Files that cannot be read
are skipped and counted, and the exit code is then 1. What the pictures show: docs/look-inside.md.
"""

import argparse
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import DictAction
from mmengine.utils import track_iter_progress

from robustnet_mm import look
from robustnet_mm.look.cams import METHODS
from robustnet_mm.look.index import Album


class Kind(NamedTuple):
    """One kind of picture.

    `flags`, argument of the view -> how argparse takes it, have the view's own defaults.
    """

    view: Callable
    about: str
    flags: dict[str, dict]


TARGET = dict(target=dict(type=int, help="class of a classifier; by default predicted"))
SCORES = dict(score_thr=dict(type=float, help="of detections"))
WHY = {**TARGET, **SCORES, "most": dict(type=int, help="detections of an image")}
METHOD = dict(method=dict(choices=METHODS, help="gradcam; of detections, hirescam"))
BLOCK = dict(block=dict(type=int, help="number; -1 is the last"))
POINT = dict(point=dict(type=int, nargs=2, metavar=("X", "Y"), help="pixel that is asked about"))
FOREGROUND = dict(foreground=dict(type=int, nargs="+", metavar="CLASS", help="default: objects"))
MODULES = dict(modules=dict(nargs="+", metavar="NAME", help="of model.named_modules()"))
CHANNELS = dict(channels=dict(type=int, help="strongest channels shown"))
TRUTH = dict(annotations=dict(metavar="FILE.json", help="COCO file; default: config's"))

KINDS = {
    "saliency": Kind(look.view_saliency, "gradients of a class at the pixels", WHY),
    "integrated-gradients": Kind(
        look.view_integrated_gradients, "what each pixel adds to a class", WHY
    ),
    "guided-backprop": Kind(
        look.view_guided_backprop, "gradients without their negative parts", WHY
    ),
    "cam": Kind(
        look.view_cam, "class activation maps of each head, or of each detection", WHY | METHOD
    ),
    "attention": Kind(look.view_attention, "heads of a block, rollout, distances", BLOCK | POINT),
    "significance": Kind(
        look.view_significance,
        "what a block's attention means, beside attention that means nothing",
        BLOCK | TRUTH | FOREGROUND,
    ),
    "receptive-field": Kind(
        look.view_receptive_field, "what one place of the last features hangs on", POINT
    ),
    "features": Kind(look.view_features, "feature maps of any module", MODULES | CHANNELS),
    "gradients": Kind(look.view_gradients, "gradients at the first and the last exchange", WHY),
    "edges": Kind(look.view_edges, "Sobel of the input and of feature maps", MODULES),
    "exchange": Kind(look.view_exchange, "what each exchange adds, how far it is open, where", {}),
    "predict": Kind(
        look.view_predict, "classes, detections or labels, with the ground truth", SCORES | TRUTH
    ),
    "compare": Kind(look.view_compare, "cnn only, vit only, both", SCORES),
    "randomisation": Kind(
        look.view_randomisation, "saliency under ever more random weights", TARGET
    ),
    "weights": Kind(look.view_weights, "histograms of weights of one checkpoint or several", {}),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Look inside a model")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name, kind in KINDS.items():
        sub = kinds.add_parser(name, help=kind.about, description=kind.about)
        sub.add_argument("config", help="config file")
        if name == "weights":
            sub.add_argument("checkpoints", nargs="+", help="checkpoint files, in their order")
        else:
            sub.add_argument("checkpoint", help="checkpoint file")
            sub.add_argument("images", nargs="+", help="files and folders of images")
        sub.add_argument("--out-dir", required=True, help="where the pictures go")
        sub.add_argument("--arrays", action="store_true", help="write what is drawn as .npz too")
        sub.add_argument("--tensorboard", action="store_true", help="write events for it too")
        sub.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
        for argument, options in kind.flags.items():
            default = signature(kind.view).parameters[argument].default
            sub.add_argument(f"--{argument.replace('_', '-')}", default=default, **options)
    return parser.parse_args()


def draw_images(args: argparse.Namespace, subject: look.Subject, album: Album) -> list[str]:
    """One panel for each image; what could not be read comes back."""
    kind, skipped, curves = KINDS[args.kind], [], []
    settings = {argument: getattr(args, argument) for argument in kind.flags}
    paths = track_iter_progress(look.find_images(args.images), file=sys.stderr)
    for shown in look.stream(subject, paths, skipped):
        pixels, arrays = kind.view(subject, shown, **settings)
        album.add(Path(shown.path).stem, pixels, arrays if args.arrays else None)
        if args.kind == "randomisation":
            curves.append(arrays)
        del shown  # before the next is read
    if curves:
        print_correlations(curves)
    return skipped


def print_correlations(curves: list[dict]):
    """Mean over the images, a line for each step."""
    heads = [name for name in curves[0] if name != "steps"]
    print(
        f"{'rank correlation, mean of ' + str(len(curves)):36}" + "".join(f"{h:>8}" for h in heads)
    )
    for index, step in enumerate(curves[0]["steps"]):
        means = [np.mean([one[head][index] for one in curves]) for head in heads]
        print(f"{step:36}" + "".join(f"{mean:8.3f}" for mean in means))


def main():
    args = parse_args()
    album, skipped = Album(args.out_dir, args.kind, args.tensorboard), []
    if args.kind == "weights":
        for checkpoint in args.checkpoints:  # which refuses other configs' files
            look.Subject(args.config, checkpoint, args.cfg_options)
        for name, pixels, arrays in KINDS[args.kind].view(args.checkpoints):
            album.add(name, pixels, arrays if args.arrays else None)
        album.close()
    else:
        subject = look.Subject(args.config, args.checkpoint, args.cfg_options)
        try:
            skipped = draw_images(args, subject, album)
        finally:  # an index of what there is
            album.close()
    print(f"\n{Path(args.out_dir) / 'index.html'}")
    if skipped:
        print("\n".join([f"skipped {len(skipped)} image(s):", *skipped]), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
