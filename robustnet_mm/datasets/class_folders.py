"""The class folders of images: mmpretrain takes every folder for a class, and numbers them by name.

So a folder that is none (`.git`, `__MACOSX`) moves the labels of those after it, in silence.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from robustnet_mm.datasets.annotations import few

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif")  # mmpretrain's default
_NO_CLASS = ("@eadir", "@recycle", "#recycle", "$recycle.bin", "lost+found")  # of disks and servers
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def subfolders(folder: str | Path) -> list[str]:
    """Names of the folders in a folder, in mmpretrain's order."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def is_no_class(name: str) -> bool:
    return name.startswith((".", "__")) or name.lower() in _NO_CLASS


def has_image(folder: str | Path, endings: tuple[str, ...], deep: bool = True) -> bool:
    """Whether a folder holds an image as mmpretrain looks for them; stops at the first.

    Args:
        folder: The folder.
        endings: Of an image's name, in small letters.
        deep: Whether to look into its folders, too.
    """
    inner = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                inner.append(entry.path)
            elif not entry.name.startswith(".") and entry.name.lower().endswith(endings):
                return True
    return deep and any(has_image(path, endings) for path in inner)


def check_depth(folder: Path, names: list[str], endings: tuple[str, ...], where: str) -> None:
    """Refuses a tree whose classes are a level deeper: under one folder, or under splits."""
    if len(names) > 1 and not {name.lower() for name in names} <= _SPLITS:
        return
    inner = {name: subfolders(folder / name) for name in names}
    if all(inner.values()) and not any(has_image(folder / n, endings, deep=False) for n in names):
        raise ValueError(
            f"{where}: {str(folder)!r} must hold one folder of images for each class, got "
            f"{few(names)}, without images and with folders ({few(inner[names[0]])}): the classes "
            f"are one level deeper, set data_prefix (or data_root) to {str(folder / names[0])!r}, "
            "or move them up"
        )


def class_folders(
    folder: Path, where: str, training: bool, extensions: Iterable[str] = EXTENSIONS
) -> list[str]:
    """Names of the class folders in a folder, in the order of the labels.

    Args:
        folder: What holds them.
        where: Config key, the beginning of each message.
        training: Whether each class must have an image; elsewhere, one of them must.
        extensions: Endings of the images' names, the dataset's `extensions`.

    Raises:
        ValueError: No folder, one that is no class, one without images, or a tree too deep.
    """
    endings, names = tuple(ending.lower() for ending in extensions), subfolders(folder)
    if not names:
        raise ValueError(
            f"{where}: {str(folder)!r} must hold one folder of images for each class, got none: "
            "sort the images into folders, or name an ann_file"
        )
    strange = [name for name in names if is_no_class(name)]
    if strange:
        raise ValueError(
            f"{where}: folder {few(map(repr, strange))} in {str(folder)!r} would be counted as a "
            "class and shift the labels: take it out, or rename it if it is a class"
        )
    check_depth(folder, names, endings, where)
    empty = [name for name in names if not has_image(folder / name, endings)]
    if len(empty) == len(names) or (training and empty):
        raise ValueError(
            f"{where}: class {few(map(repr, empty))} in {str(folder)!r} has no images, no names "
            f"that end in {', '.join(endings)}: put images there, set the dataset's extensions, or "
            "take the folder out of train, val and test"
        )
    return names
