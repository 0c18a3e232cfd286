"""Pictures and videos by their places: files, folders and patterns."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from robustnet_mm.datasets.loading import IMAGE_SUFFIXES


def pictures_in(folder: str | Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """The files of a folder and of those below it, sorted; hidden ones are left out."""
    paths = (path for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() in suffixes)
    return [
        str(path)
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def find_pictures(
    name: str, places: Sequence[str], suffixes: tuple[str, ...] = IMAGE_SUFFIXES
) -> list[str]:
    """Files as they are named, what is in folders, and what patterns such as 'a/*.jpg' match.

    Args:
        name: Of the argument, for the error.
        places: Files, folders and patterns.
        suffixes: Of the files of a folder.

    Raises:
        ValueError: A place that holds nothing.
    """
    found = []
    for place in places:
        paths = [place] if Path(place).exists() else sorted(glob(place))
        if not paths:
            raise ValueError(f"{name} {place} names no file, folder or pattern that matches")
        for path in paths:
            inside = pictures_in(path, suffixes) if Path(path).is_dir() else [path]
            if not inside:
                raise ValueError(
                    f"{name} {path} holds no file of {', '.join(suffixes)}: name another folder"
                )
            found += inside
    return found
