"""Annotations of VOC into COCO's form, for the configs of own data.

    python tools/dataset_converters/voc_to_coco.py ROOT data/own train val

writes data/own/annotations/instances_train.json and instances_val.json, whose categories are the
same, and links data/own/images to the images. What is left out is counted and named.
docs/own-data.md.
"""

import argparse
import sys
from pathlib import Path

from robustnet_mm.datasets.formats import voc_to_coco
from robustnet_mm.datasets.own_data import listed_classes


def main():
    parser = argparse.ArgumentParser(description="Convert VOC to COCO")
    parser.add_argument("root", type=Path, help="folder of the dataset")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("splits", nargs="+", help="such as train val")
    parser.add_argument("--classes", metavar="FILE.txt", help="a name a line, in their order")
    args = parser.parse_args()
    classes = listed_classes(args.classes) if args.classes else None
    print("\n".join(voc_to_coco(args.root, args.out, args.splits, classes)))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"voc_to_coco.py: {error}")
