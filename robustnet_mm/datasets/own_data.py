"""The classes of your own data, read from the data: for configs that anybody's data fill in."""

import colorsys
from pathlib import Path

from robustnet_mm.arguments import check_choice
from robustnet_mm.datasets.annotations import check_categories
from robustnet_mm.datasets.checks import load_coco
from robustnet_mm.datasets.class_folders import class_folders

NEXT_STEP = "set DATA_ROOT to your data's folder (docs/own-data.md)"


def coco_classes(*files: str | Path) -> tuple[str, ...]:
    """Names of the categories of COCO annotation files, in the order of the files.

    That order is the labels': mmdet numbers the categories as the file lists them, whatever their
    ids. So every file must list the same ones, with or without objects.

    Args:
        *files: Annotation files, the training's first.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A file is no COCO file, has no categories or a name twice, or differs from the
            first.
    """
    found = {}
    for file in map(Path, files):
        if not file.is_file():
            raise FileNotFoundError(f"annotation file {str(file)!r} is not there: {NEXT_STEP}")
        categories = load_coco(file, "own data")["categories"] or []
        check_categories(categories, str(file))
        found[file] = names = [category["name"] for category in categories]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise ValueError(
                f"categories of {str(file)!r} must be one or more different names, got "
                f"{'twice ' + ', '.join(twice) if twice else 'none'}: mend the file"
            )
    first, *others = found
    for file in others:
        if found[file] != found[first]:
            raise ValueError(
                f"categories of {str(file)!r} must be those of {str(first)!r} in the same order, "
                f"{found[first]}, got {found[file]}: labels follow that order; write the same list "
                "into both"
            )
    return tuple(found[first])


def folder_classes(*folders: str | Path) -> tuple[str, ...]:
    """Names of the folders of images in `folders`, one for each class, in mmpretrain's order.

    Args:
        *folders: The training's first, then others with the same classes.

    Raises:
        FileNotFoundError: A folder is not there.
        ValueError: A folder holds no folders, or others than the first; or what `class_folders`
            refuses: folders that are no classes, or without images.
    """
    found = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"image folder {str(folder)!r} is not there: {NEXT_STEP}")
        found[folder] = class_folders(folder, "own data", training=not found)
    first, *others = found
    for folder in others:
        if found[folder] != found[first]:
            different = sorted(set(found[folder]) ^ set(found[first]))
            raise ValueError(
                f"folders of {str(folder)!r} must be those of {str(first)!r}, got others or none "
                f"of: {', '.join(different[:8])}"
            )
    return tuple(found[first])


def listed_classes(file: str | Path) -> tuple[str, ...]:
    """The lines of a text file, one class each; empty lines at its end do not count.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It has no lines, an empty one between others, or a name twice.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(
            f"list of classes {str(file)!r} is not there: write one name a line, in the order of "
            f"the labels; {NEXT_STEP}"
        )
    names = [line.strip() for line in Path(file).read_text("utf-8").rstrip().splitlines()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not all(names) or not names or twice:
        found = f"twice {', '.join(twice)}" if twice else "an empty line" if names else "none"
        raise ValueError(
            f"classes of {str(file)!r} must be one or more different names, one a line, got "
            f"{found}: mend the file"
        )
    return tuple(names)


def positive(variable: str, value: str) -> int:
    """The whole number above 0 that an environment variable holds.

    Raises:
        ValueError: It holds something else.
    """
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{variable} must be a whole number from 1 on, got {value!r}")
    return int(value)


def switched_on(variable: str, value: str) -> bool:
    """Whether an environment variable holds 1 and not 0.

    Raises:
        ValueError: It holds something else.
    """
    check_choice(variable, value, ("0", "1"))
    return value == "1"


def palette(classes: tuple[str, ...]) -> list[tuple[int, int, int]]:
    """A colour (R, G, B) in 0..255 for each class; mmdet's own palette ends at COCO's 80."""
    hues = (k * 0.618034 % 1 for k in range(len(classes)))  # neighbours far apart
    return [tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, 0.95)) for hue in hues]
