"""Look inside a classifier or a detector: one picture for each image, and an index of them all.

    python tools/analysis_tools/look.py KIND CONFIG CHECKPOINT IMAGES... --out-dir DIR
    python tools/analysis_tools/look.py weights CONFIG CHECKPOINT... --out-dir DIR

IMAGES are files and folders; DIR/index.html shows everything made there. Files that cannot be read
are skipped and counted, and the exit code is then 1. What the pictures show: docs/look-inside.md.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from mmengine.config import DictAction
from mmengine.utils import track_iter_progress

from robustnet_mm.analysis import Annotations, Subject, find_images, stream, views, views_inside
from robustnet_mm.analysis.cams import METHODS
from robustnet_mm.analysis.index import Album

KINDS = {
    "saliency": (views.view_saliency, "gradients of a class at the pixels"),
    "integrated-gradients": (views.view_integrated_gradients, "what each pixel adds to a class"),
    "guided-backprop": (views.view_guided_backprop, "gradients without their negative parts"),
    "cam": (views.view_cam, "class activation maps of each head, or of each detection"),
    "attention": (views_inside.view_attention, "heads of a block, rollout, distances"),
    "features": (views_inside.view_features, "feature maps of any module"),
    "gradients": (views.view_gradients, "gradients at the first and the last exchange"),
    "edges": (views_inside.view_edges, "Sobel of the input and of feature maps"),
    "exchange": (views_inside.view_exchange, "what each exchange adds, its gates, and where"),
    "predict": (views.view_predict, "classes or detections, with the ground truth"),
    "compare": (views.view_compare, "cnn only, vit only, both"),
    "randomisation": (views_inside.view_randomisation, "saliency under ever more random weights"),
    "weights": (None, "histograms of weights of one checkpoint or several"),
}
EXPLAINING = ("saliency", "integrated-gradients", "guided-backprop", "cam", "gradients")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Look inside a classifier or a detector")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, (_, about) in KINDS.items():
        sub = kinds.add_parser(kind, help=about, description=about)
        sub.add_argument("config", help="config file")
        if kind == "weights":
            sub.add_argument("checkpoints", nargs="+", help="checkpoint files, in their order")
        else:
            sub.add_argument("checkpoint", help="checkpoint file")
            sub.add_argument("images", nargs="+", help="files and folders of images")
        sub.add_argument("--out-dir", required=True, help="where the pictures go")
        sub.add_argument("--arrays", action="store_true", help="write what is drawn as .npz too")
        sub.add_argument("--tensorboard", action="store_true", help="write events for it too")
        sub.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
        _add_own_arguments(sub, kind)
    return parser.parse_args()


def _add_own_arguments(sub: argparse.ArgumentParser, kind: str):
    if kind in (*EXPLAINING, "randomisation"):
        sub.add_argument("--target", type=int, help="class of a classifier; by default predicted")
    if kind in (*EXPLAINING, "predict", "compare"):
        sub.add_argument("--score-thr", type=float, default=0.3, help="of detections")
    if kind in EXPLAINING:
        sub.add_argument("--most", type=int, default=3, help="detections of an image")
    if kind == "cam":
        sub.add_argument("--method", choices=METHODS, help="gradcam; of detections, hirescam")
    if kind == "attention":
        sub.add_argument("--block", type=int, default=-1, help="number; -1 is the last")
        sub.add_argument("--point", type=int, nargs=2, metavar=("X", "Y"), help="pixel that asks")
    if kind in ("features", "edges"):
        sub.add_argument("--modules", nargs="+", metavar="NAME", help="of model.named_modules()")
    if kind == "features":
        sub.add_argument("--channels", type=int, default=4, help="strongest channels shown")
    if kind == "predict":
        sub.add_argument("--annotations", metavar="FILE.json", help="COCO file; default: config's")


def find_annotations(subject: Subject, named: str | None) -> Annotations | None:
    """The file that is named, or that of the config's test data where it is there."""
    if named is None:
        stated = subject.dataset.get("ann_file") or ""
        path = Path(subject.dataset.get("data_root") or "", stated)
        if not (subject.is_detector and stated and path.is_file()):
            return None
        named = str(path)
    return Annotations(named, subject.classes)


def draw_images(args: argparse.Namespace, subject: Subject, album: Album) -> list[str]:
    """One panel for each image; what could not be read comes back."""
    view, skipped, curves = KINDS[args.kind][0], [], []
    if args.kind == "predict":
        args.annotations = find_annotations(subject, args.annotations)
    paths = track_iter_progress(find_images(args.images), file=sys.stderr)
    for shown in stream(subject, paths, skipped):
        pixels, arrays = view(subject, shown, args)
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
        for checkpoint in args.checkpoints:
            Subject(args.config, checkpoint, args.cfg_options)  # which refuses other configs' files
        for name, pixels, arrays in views_inside.pages_of_weights(args.checkpoints):
            album.add(name, pixels, arrays if args.arrays else None)
        album.close()
    else:
        subject = Subject(args.config, args.checkpoint, args.cfg_options)
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
