"""Draw a smaller dataset by a seed: folders of images, or COCO annotations with their images.

    # of folders, PART/CLASS/*: 200 images of each class to train on, 100 to test on
    python tools/dataset_converters/draw_subset.py data/cifar10 data/small train=train:200 test=test:100
    # of COCO, annotations/instances_PART.json and images/: both parts out of one, 224 and 56 images
    python tools/dataset_converters/draw_subset.py data/coco data/choose train=train:224 val=train:56

--merge NAME replaces all categories by one, NAME, for a detector of objects of any kind.
Parts that are drawn from the same part share no image. SOURCE stays as it is; TARGET must not be
there yet, and is there in the end with all of its files or not at all.
"""  # noqa: E501

import argparse
import json
import random
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from robustnet_mm.datasets.checks import load_coco
from robustnet_mm.datasets.class_folders import class_folders

ANNOTATIONS = "annotations/instances_{}.json"


class Part(NamedTuple):
    """One part of the smaller dataset."""

    name: str
    source: str  # the part it is drawn from
    count: int  # images of each class, or of all in COCO's form


def part_of(text: str) -> Part:
    """'train=train:200' -> Part"""
    found = re.fullmatch(r"([\w-]+)=([\w-]+):([1-9]\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"PART=FROM:COUNT such as train=train:200, got {text!r}")
    return Part(found[1], found[2], int(found[3]))


def draw(names: list, parts: list[Part], seed: int, of: str) -> dict[str, list]:
    """Name of the part -> its share of `names`, no name twice, each share in order."""
    wanted = sum(part.count for part in parts)
    if wanted > len(names):
        raise ValueError(
            f"{of} has {len(names)} images, got {wanted} to be drawn: ask for fewer of each part"
        )
    drawn = iter(random.Random(f"{seed} {of}").sample(names, wanted))
    return {part.name: sorted(next(drawn) for _ in range(part.count)) for part in parts}


def draw_folders(source: Path, parts: list[Part], seed: int) -> list[tuple[Path, str]]:
    """Each image, and where it goes in the target."""
    files = []
    for origin in dict.fromkeys(part.source for part in parts):
        from_here = [part for part in parts if part.source == origin]
        for label in class_folders(source / origin, "draw_subset", training=True):
            folder = source / origin / label
            names = sorted(path.name for path in folder.iterdir() if path.is_file())
            for part, chosen in draw(names, from_here, seed, f"{origin}/{label}").items():
                files += [(folder / name, f"{part}/{label}/{name}") for name in chosen]
    return files


def draw_coco(source: Path, parts: list[Part], seed: int) -> tuple[list, dict[str, dict]]:
    """Each image and where it goes, and the annotation file of each part."""
    files, annotations = {}, {}
    for origin in dict.fromkeys(part.source for part in parts):
        whole = load_coco(source / ANNOTATIONS.format(origin), "draw_subset")
        from_here = [part for part in parts if part.source == origin]
        images = {image["id"]: image for image in whole["images"]}
        for part, ids in draw(sorted(images), from_here, seed, origin).items():
            chosen = set(ids)
            annotations[part] = {
                **whole,
                "images": [images[number] for number in ids],
                "annotations": [a for a in whole["annotations"] if a["image_id"] in chosen],
            }
            names = (f"images/{images[number]['file_name']}" for number in ids)
            files.update((name, source / name) for name in names)
    return [(path, name) for name, path in files.items()], annotations


def merge(content: dict, name: str) -> dict:
    """The annotations with one category, `name`, in place of theirs."""
    merged = [dict(annotation, category_id=1) for annotation in content["annotations"]]
    return dict(content, annotations=merged, categories=[dict(id=1, name=name)])


def main():
    parser = argparse.ArgumentParser(description="Draw a smaller dataset by a seed")
    parser.add_argument("source", type=Path, help="folder of the dataset")
    parser.add_argument("target", type=Path, help="folder to be made")
    parser.add_argument("parts", nargs="+", type=part_of, metavar="PART=FROM:COUNT")
    parser.add_argument("--seed", type=int, default=0, help="another draw (default: 0)")
    parser.add_argument("--merge", metavar="NAME", help="one category, so named, of all (COCO)")
    args = parser.parse_args()
    if args.target.exists():
        raise FileExistsError(f"{args.target} is there already: remove it, or name another folder")
    if args.merge == "":
        raise ValueError("--merge needs a name for the one category, such as object, got ''")
    names = [part.name for part in args.parts]
    if len(set(names)) < len(names):
        raise ValueError(f"each part may stand once, got {', '.join(names)}: draw it in one go")
    annotations = {}
    if (args.source / ANNOTATIONS.format(args.parts[0].source)).is_file():
        files, annotations = draw_coco(args.source, args.parts, args.seed)
        if args.merge is not None:
            annotations = {part: merge(each, args.merge) for part, each in annotations.items()}
    elif args.merge is not None:
        missing = args.source / ANNOTATIONS.format(args.parts[0].source)
        raise ValueError(f"--merge needs annotations of COCO, and {missing} is not there")
    else:
        files = draw_folders(args.source, args.parts, args.seed)
    made = args.target.with_name(f".{args.target.name}.part")
    shutil.rmtree(made, ignore_errors=True)  # of a run that was killed
    try:
        for path, name in files:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, made / name)
        for part, content in annotations.items():
            (made / "annotations").mkdir(exist_ok=True)
            (made / ANNOTATIONS.format(part)).write_text(json.dumps(content))
        made.rename(args.target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    print(f"{len(files)} images in {args.target}: {', '.join(names)}, seed {args.seed}")


if __name__ == "__main__":
    main()
