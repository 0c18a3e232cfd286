"""Open Images: check its hierarchy, convert its boxes to COCO's form, make what mmdet asks for.

    python tools/dataset_converters/open_images.py data/OpenImages validation --coco FILE.json
    python tools/dataset_converters/open_images.py data/OpenImages validation --metas

ROOT is laid out as mmdet's configs have it (docs/own-data.md). --coco leaves out what was not
fetched; --metas writes ROOT/annotations/SPLIT-image-metas.pkl, which OpenImagesDataset reads.
"""

import argparse
import sys
from pathlib import Path

from robustnet_mm.datasets.formats import OpenImages

BOXES = dict(train="oidv6-train-annotations-bbox.csv")


def main():
    parser = argparse.ArgumentParser(description="Convert Open Images")
    parser.add_argument("root", type=Path, help="folder of annotations/ and OpenImages/")
    parser.add_argument("split", choices=["train", "validation", "test"])
    parser.add_argument("--coco", type=Path, metavar="FILE.json", help="write boxes in COCO's form")
    parser.add_argument("--metas", action="store_true", help="write the sizes for mmdet")
    args = parser.parse_args()
    tables = args.root / "annotations"
    found = OpenImages(
        tables / BOXES.get(args.split, f"{args.split}-annotations-bbox.csv"),
        args.root / "OpenImages" / args.split,
        tables / "class-descriptions-boxable.csv",
        tables / "bbox_labels_600_hierarchy.json",
    )
    print(found.said)
    if args.coco:
        print(found.write_coco(args.coco))
    if args.metas:
        print(found.write_metas(tables / f"{args.split}-image-metas.pkl"))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"open_images.py: {error}")
