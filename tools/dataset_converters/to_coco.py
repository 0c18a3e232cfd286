"""Annotations of Pascal VOC or YOLO into COCO's form, for the configs of own data.

    python tools/dataset_converters/to_coco.py voc VOCdevkit/VOC2007 data/own train val
    python tools/dataset_converters/to_coco.py yolo datasets/mine data/own train val

writes data/own/annotations/instances_train.json and instances_val.json, whose categories are the
same, and links data/own/images to the images. What is left out is counted and named.
docs/own-data.md.
"""

import argparse
import sys
from pathlib import Path

from robustnet_mm.datasets.formats import voc_to_coco, yolo_to_coco
from robustnet_mm.datasets.own_data import listed_classes

FORMS = dict(voc=voc_to_coco, yolo=yolo_to_coco)


def main():
    parser = argparse.ArgumentParser(description="Convert annotations to COCO")
    parser.add_argument("form", choices=FORMS, help="of the annotations")
    parser.add_argument("root", type=Path, help="folder of the dataset")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("splits", nargs="+", help="such as train val")
    parser.add_argument("--classes", metavar="FILE.txt", help="a name a line, in their order")
    args = parser.parse_args()
    classes = listed_classes(args.classes) if args.classes else None
    print("\n".join(FORMS[args.form](args.root, args.out, args.splits, classes)))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"to_coco.py: {error}")
