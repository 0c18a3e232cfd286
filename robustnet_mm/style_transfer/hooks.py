"""A fixed grid of pictures, painted again and again during the training."""

from collections.abc import Sequence

import mmcv
import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from robustnet_mm.arguments import check_whole
from robustnet_mm.registry import HOOKS

from .datasets import ContentStyleDataset, pictures_of
from .pixels import from_array, to_array, to_bytes, to_unit
from .sheets import tile


@HOOKS.register_module()
class StyleSnapshotHook(Hook):
    """Paints the first contents in the first styles, and gives the sheet to the visualizer.

    The first row shows the styles, the first column the contents. The local backend writes
    `<work_dir>/.../vis_image/snapshot_<iteration>.png`; TensorBoard shows it where the config says
    so.

    Args:
        content: A folder or a list of files, as `ContentStyleDataset` takes it.
        style: The same.
        contents: Number of rows.
        styles: Number of columns.
        size: Side of each picture in pixels.
        interval: Iterations between two sheets; the last iteration has one, too.

    Raises:
        ValueError: Fewer pictures than are asked for.
    """

    priority = "LOW"

    def __init__(
        self,
        content: str | Sequence[str],
        style: str | Sequence[str],
        contents: int = 4,
        styles: int = 4,
        size: int = 256,
        interval: int = 1000,
    ):
        self.places, self.numbers = (content, style), (contents, styles)
        for name, number in dict(contents=contents, styles=styles).items():
            check_whole(name, number, 1)
        check_whole("size", size, 16)
        check_whole("interval", interval, 1)
        self.size, self.interval = size, interval

    def before_train(self, runner):
        """Find the pictures; a test needs none."""
        self.paths = {}
        asked = zip(("contents", "styles"), self.places, self.numbers, strict=True)
        for name, place, number in asked:
            found = pictures_of(name.removesuffix("s"), place)
            if len(found) < number:
                raise ValueError(
                    f"{name}={number} of StyleSnapshotHook, and {place} holds {len(found)}: set "
                    f"{name} to that or less"
                )
            self.paths[name] = found[:number]

    @master_only
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Paint, where it is time; the random state of the training is left alone."""
        if self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner):
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            was = model.training
            model.eval()
            sheet = self.sheet(model)
            model.train(was)
            runner.visualizer.add_image("snapshot", sheet, step=runner.iter + 1)

    @torch.no_grad()
    def sheet(self, model) -> np.ndarray:
        """(H, W, 3) uint8, RGB."""
        device = next(model.parameters()).device
        kept = {name: [self._square(path) for path in paths] for name, paths in self.paths.items()}
        blank = np.full((self.size, self.size, 3), 255, np.uint8)
        rows = [[blank, *kept["styles"]]]
        as_input = {
            name: [to_unit(from_array(p)).to(device) for p in pictures]
            for name, pictures in kept.items()
        }
        styles = [model.read_style(style) for style in as_input["styles"]]
        for picture, content in zip(kept["contents"], as_input["contents"], strict=True):
            painted = [model.paint(content, [style])[0] for style in styles]
            rows.append([picture, *(to_array(to_bytes(one)) for one in painted)])
        return tile(rows)

    def _square(self, path: str) -> np.ndarray:
        """The middle of a picture, (size, size, 3), RGB."""
        loader = ContentStyleDataset([path], [path], "aligned", size=self.size, crop=self.size)
        return mmcv.bgr2rgb(to_array(loader.picture(path)))
