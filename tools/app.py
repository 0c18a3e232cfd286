"""A page to try a model on: drop a picture, and see what each tower says and where it looks.

    python tools/app.py CONFIG CHECKPOINT [--port 7860]

Of a classifier or detector: what the CNN alone, the ViT alone and both say, with a slider that
opens the exchanges; class activation of each head; the attention of the patch that is clicked on.
Of a style transfer: a content, a style, and how much of it. Only this machine can open the page,
unless --host says otherwise. Extra `app`. docs/inference.md.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config, DictAction

from robustnet_mm import look
from robustnet_mm.datasets import LoadImage
from robustnet_mm.models import RobustNet
from robustnet_mm.models.probe import backbone_of
from robustnet_mm.style_transfer.stylizer import Stylizer, shrink

MOST_MB = 30  # of an upload
MOST_SIDE = 1024  # pixels; what is larger is scaled down before the config's own pipeline
ONE_AT_A_TIME = dict(concurrency_limit=1, concurrency_id="model")  # visitors wait for each other


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Try a model in a browser")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets others in")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args()


def import_gradio():
    try:
        import gradio
    except ImportError as error:
        raise ImportError(
            f"the page needs {error.name}: pip install 'robustnet-mm[app]'"
        ) from error
    return gradio


class Looking:
    """What the page of a classifier, detector or segmentor shows.

    Args:
        args: Of the command line.
    """

    def __init__(self, args: argparse.Namespace):
        self.subject = look.Subject(args.config, args.checkpoint, args.cfg_options)
        backbone = backbone_of(self.subject.model)
        self.woven = isinstance(backbone, RobustNet) and bool(backbone.exchanges)

    def _read(self, path: str) -> look.Picture:
        loaded = self.subject.load(path)
        if max(loaded["img"].shape[:2]) > MOST_SIDE:
            loaded["img"] = mmcv.imrescale(loaded["img"], (MOST_SIDE, MOST_SIDE))
            loaded["img_shape"] = loaded["ori_shape"] = loaded["img"].shape[:2]
        return self.subject.see(loaded)

    def _view(self, view: Callable, picture: look.Picture, share: float, **settings):
        """(pixels, '') or (None, why there are none)."""
        with ExitStack() as stack:
            if self.woven and view is not look.view_compare:
                stack.enter_context(look.scaled_exchanges(self.subject.model, share))
            try:
                return view(self.subject, picture, **settings)[0], ""
            except ValueError as error:
                return None, str(error)

    def look(self, path: str, share: float) -> tuple:
        """What the model sees, what it says, each tower and both, class activation, and a text."""
        start = time.perf_counter()
        picture = self._read(path)
        said, why = self._view(look.view_predict, picture, share)
        pictures, reasons = [said], [why]
        for view in (look.view_compare, look.view_cam):
            pixels, why = self._view(view, picture, share)
            pictures.append(pixels)
            reasons.append(why)
        text = f"{time.perf_counter() - start:.1f} s, exchanges open to {100 * share:.0f} %"
        seen = picture.pixels.repeat(_zoom(picture), 0).repeat(_zoom(picture), 1)
        return seen, *pictures, "\n".join([text, *filter(None, reasons)])

    def attend(self, path: str, share: float, point: tuple[int, int]) -> tuple:
        """The attention of the patch at (x, y) of what the model is shown to see, and a text."""
        picture = self._read(path)
        point = tuple(side // _zoom(picture) for side in point)
        pixels, why = self._view(look.view_attention, picture, share, point=point)
        return pixels, why or f"the patch at {point[0]}, {point[1]}"


def _zoom(picture: look.Picture) -> int:
    """How many times a small picture is enlarged, so that its patches can be clicked on."""
    return max(1, 320 // max(picture.pixels.shape[:2]))


class Painting:
    """What the page of a style transfer shows.

    Args:
        args: Of the command line.
    """

    def __init__(self, args: argparse.Namespace):
        self.stylize = Stylizer(args.config, args.checkpoint, args.cfg_options)
        self.load = LoadImage()

    def paint(self, content: str, style: str, alpha: float) -> tuple[np.ndarray, str]:
        """The content in the style, and a text."""
        start = time.perf_counter()
        read = (mmcv.bgr2rgb(self.load.read(path)) for path in (content, style))
        photo, painting = (shrink(pixels, MOST_SIDE, "the longer side") for pixels in read)
        painted = self.stylize.paint(photo, [self.stylize.read_style(painting)], alpha=alpha)
        return painted, f"{time.perf_counter() - start:.1f} s"


def page_of(args: argparse.Namespace):
    """The page, a gradio.Blocks.

    Raises:
        ValueError, FileNotFoundError: As the config and the checkpoint do not fit.
        ImportError: gradio is missing.
    """
    gradio = import_gradio()
    if not Path(args.config).is_file():
        raise FileNotFoundError(f"config {args.config} does not exist: name a file under configs/")
    kind = str((Config.fromfile(args.config).get("model") or {}).get("type"))
    settings = dict(title="robustnet_mm", analytics_enabled=False, delete_cache=(3600, 3600))
    with gradio.Blocks(**settings) as page:  # uploads and results are deleted after an hour
        gradio.Markdown(f"## {Path(args.config).stem}")
        if kind.endswith("RobustStyleTransfer"):
            _painting_page(gradio, Painting(args))
        else:
            _looking_page(gradio, Looking(args))
    return page


def _telling(gradio, function: Callable) -> Callable:
    """What the user did wrong is shown as a message, and not as a crash of the page."""

    def call(*inputs):
        if any(one is None for one in inputs):
            raise gradio.Error(
                "there is no picture yet: drop one into the field", print_exception=False
            )
        try:
            return function(*inputs)
        except (ValueError, OSError, MemoryError) as error:
            raise gradio.Error(str(error), print_exception=False) from error

    return call


def _picture_field(gradio, label: str):
    sources = ["upload", "clipboard"]
    return gradio.Image(type="filepath", label=label, height=320, sources=sources)


def _result(gradio, title: str, **options):
    """A picture under its own title: a label within it would hide what the panel says on top."""
    gradio.Markdown(f"### {title}")
    return gradio.Image(
        show_label=False,
        label=title,
        interactive=False,
        buttons=["download", "fullscreen"],
        **options,
    )


def _looking_page(gradio, looking: Looking) -> None:
    with gradio.Row():
        dropped = _picture_field(gradio, "a picture")
        with gradio.Column():
            share = gradio.Slider(0, 1, 1, step=0.05, label="exchanges open", visible=looking.woven)
            button = gradio.Button("Look", variant="primary")
            text = gradio.Textbox(label="said", lines=2, interactive=False)
    said = _result(gradio, "What it says")
    towers = _result(gradio, "The CNN alone, the ViT alone, both as trained")
    cams = _result(gradio, "Class activation of each head")
    with gradio.Row():
        with gradio.Column():
            seen = _result(gradio, "What the model sees: click on a patch", height=320)
        with gradio.Column():
            attention = _result(gradio, "Attention of that patch")
    show = dict(inputs=[dropped, share], outputs=[seen, said, towers, cams, text], **ONE_AT_A_TIME)
    button.click(_telling(gradio, looking.look), **show)
    share.release(_telling(gradio, looking.look), **show)

    def clicked(path: str, opened: float, place: gradio.SelectData):
        return _telling(gradio, looking.attend)(path, opened, tuple(map(int, place.index)))

    seen.select(clicked, [dropped, share], [attention, text], **ONE_AT_A_TIME)


def _painting_page(gradio, painting: Painting) -> None:
    with gradio.Row():
        content, style = (_picture_field(gradio, name) for name in ("content", "style"))
    alpha = gradio.Slider(0, 1, 1, step=0.05, label="alpha: how much of the style")
    button = gradio.Button("Paint", variant="primary")
    text = gradio.Textbox(label="said", interactive=False)
    painted = _result(gradio, "Painted")
    show = dict(inputs=[content, style, alpha], outputs=[painted, text], **ONE_AT_A_TIME)
    button.click(_telling(gradio, painting.paint), **show)
    alpha.release(_telling(gradio, painting.paint), **show)


def main():
    args = parse_args()
    page = page_of(args)
    page.queue().launch(
        server_name=args.host,
        server_port=args.port,
        max_file_size=f"{MOST_MB}mb",
        share=False,
        quiet=True,
        show_error=True,
        prevent_thread_lock=True,
    )
    print(f"http://{args.host}:{args.port}  (Ctrl-C ends it)", flush=True)
    page.block_thread()


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError, ImportError, OSError) as error:
        sys.exit(f"app.py: {error}")
