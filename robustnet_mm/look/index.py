"""Where pictures go: a folder for each kind, small copies, and one page that shows them all."""

import html
import os
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
from mmengine.visualization import Visualizer

from robustnet_mm.files import WholeFileBackend

from .extras import need

THUMBNAIL = 240  # pixels of the longer side
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Pictures</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 1.5em; color: #222; background: #fff }}
figure {{ display: inline-block; margin: 0 1em 1em 0; vertical-align: top; width: {side}px }}
img {{ max-width: 100%; border: 1px solid #ccc }}
figcaption {{ font-size: 12px; overflow-wrap: anywhere }}
</style>
<h1>Pictures</h1>
{sections}
</html>
"""


class Album:
    """Writes the pictures of one kind, and the index of the folder.

    `<out_dir>/<kind>/<name>_0.png` by mmengine's `LocalVisBackend`, small copies in
    `<out_dir>/thumbnails/<kind>/`, arrays as `<out_dir>/<kind>/<name>.npz`.

    Args:
        out_dir: The folder.
        kind: What the pictures are.
        tensorboard: Also write events for TensorBoard into `<out_dir>/tensorboard`.

    Raises:
        ValueError: The folder cannot be written.
    """

    def __init__(self, out_dir: str, kind: str, tensorboard: bool = False):
        self.out_dir, self.kind = Path(out_dir), kind
        try:
            for folder in (self.out_dir / kind, self.out_dir / "thumbnails" / kind):
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / f".{os.getpid()}.part"
                probe.touch()
                probe.unlink()
        except OSError as error:
            raise ValueError(
                f"out_dir must be a folder that can be written, got {out_dir} ({error}): name "
                "another"
            ) from error
        backends = [dict(type="LocalVisBackend", save_dir=str(out_dir), img_save_dir=kind)]
        if tensorboard:
            need("tensorboard")
            events = str(self.out_dir / "tensorboard")
            backends.append(dict(type="TensorboardVisBackend", save_dir=events))
        self._visualizer = Visualizer(vis_backends=backends)
        self._names = set()

    def add(self, name: str, pixels: np.ndarray, arrays: dict[str, np.ndarray] | None = None):
        """One picture, (H, W, 3) uint8 RGB, and the arrays that it shows.

        A name that came before in this run gets a number.
        """
        name = self._own_name(name)
        self._visualizer.add_image(name, pixels)
        path = self.out_dir / self.kind / f"{name}_0.png"
        if not path.is_file():
            raise ValueError(f"{path} could not be written: is the disk full?")
        write_thumbnail(self.out_dir / "thumbnails" / self.kind / path.name, pixels)
        if arrays is not None:
            np.savez_compressed(self.out_dir / self.kind / f"{name}.npz", **arrays)

    def _own_name(self, name: str) -> str:
        name = re.sub(r"[^\w.-]+", "_", name)
        own, number = name, 1
        while own in self._names:
            number += 1
            own = f"{name}-{number}"
        self._names.add(own)
        return own

    def close(self):
        """Write the index, and end the events file."""
        write_index(self.out_dir)
        self._visualizer.close()


def write_thumbnail(path: Path, pixels: np.ndarray):
    """A small copy of (H, W, 3) uint8 RGB."""
    import cv2

    scale = THUMBNAIL / max(pixels.shape[:2])
    size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
    small = cv2.resize(pixels[..., ::-1], size, interpolation=cv2.INTER_AREA)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), small)


def write_index(out_dir: Path) -> Path:
    """`index.html` of all pictures in a folder, written whole; its links are relative."""
    sections = []
    for folder in sorted(path for path in (out_dir / "thumbnails").iterdir() if path.is_dir()):
        small = [path for path in sorted(folder.glob("*.png"))]
        pairs = [(path, out_dir / folder.name / path.name) for path in small]
        figures = [_figure(*pair, out_dir) for pair in pairs if pair[1].is_file()]
        if figures:
            sections.append(f"<h2>{html.escape(folder.name)}</h2>\n" + "\n".join(figures))
    page = out_dir / "index.html"
    text = _PAGE.format(side=THUMBNAIL, sections="\n".join(sections))
    WholeFileBackend().put_text(text, page)
    return page


def _figure(small: Path, full: Path, out_dir: Path) -> str:
    name = html.escape(full.stem.removesuffix("_0"))
    source, target = (quote(str(path.relative_to(out_dir))) for path in (small, full))
    return (
        f'<figure><a href="{target}"><img src="{source}" alt="{name}"></a>'
        f"<figcaption>{name}</figcaption></figure>"
    )
