"""What the tools must know of each host, by its scope: a row here, and nowhere else a question.

A further host is a further row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

# whose necks and heads read feature maps only
PACKAGES = ("mmdet", "mmpretrain", "mmseg")


@dataclass(frozen=True)
class Host:
    """An OpenMMLab package, by the `default_scope` of its configs.

    Args:
        sample: Module and class of its data samples.
        dump: Metric that keeps all predictions in a file.
        keeps: Whether a study keeps those of each training, or they are too large for it.
        draw: What switches its visualisation hook on, and where the config names the folder for
            pictures; None where it has no such hook.
        visualizer: Type of what draws its predictions; '' where it has none.
        draws_by: The method that draws an image and its sample.
        tta_model: Its usual averaging over augmented images; None where it has none.
        tta_mask_model: The same of detectors with a mask head.
        tta_drops: Steps of a test pipeline that its averaging has no use for.
        tta_keys: What its samples must say beside, for the averaging.
        sides: Usual height and width of an image in pixels.
        detects: Whether its models give boxes.
        segments: Whether its models give a label map.
        cuts: Whether its test pipelines cut every image to one size.
    """

    sample: tuple[str, str]
    dump: str
    keeps: bool = True
    draw: tuple[Mapping, str] | None = None
    visualizer: str = ""
    draws_by: str = "add_datasample"
    tta_model: Mapping | None = None
    tta_mask_model: Mapping | None = None
    tta_drops: tuple[str, ...] = ()
    tta_keys: tuple[str, ...] = ()
    sides: tuple[int, ...] = (224,)
    detects: bool = False
    segments: bool = False
    cuts: bool = False

    def sample_type(self) -> type:
        """The class of its data samples; imports the host."""
        module, name = self.sample
        return getattr(import_module(module), name)


_MERGED = dict(nms=dict(type="nms", iou_threshold=0.5), max_per_img=100)  # boxes of all views

HOSTS = {
    "mmdet": Host(
        sample=("mmdet.structures", "DetDataSample"),
        dump="mmdet.DumpDetResults",
        draw=(dict(draw=True), "default_hooks.visualization.test_out_dir"),
        visualizer="mmdet.DetLocalVisualizer",
        tta_model=dict(type="DetTTAModel", tta_cfg=_MERGED),
        tta_mask_model=dict(type="robustnet_mm.MaskTTAModel", tta_cfg=_MERGED),
        tta_drops=("LoadAnnotations",),
        tta_keys=("flip", "flip_direction"),
        sides=(800, 1344),
        detects=True,
    ),
    "mmpretrain": Host(
        sample=("mmpretrain.structures", "DataSample"),
        dump="DumpResults",
        draw=(dict(enable=True), "default_hooks.visualization.out_dir"),
        visualizer="mmpretrain.UniversalVisualizer",
        draws_by="visualize_cls",
        tta_model=dict(type="AverageClsScoreTTA"),
        cuts=True,
    ),
    "mmseg": Host(
        sample=("mmseg.structures", "SegDataSample"),
        dump="DumpResults",
        keeps=False,
        draw=(dict(draw=True, interval=1), "visualizer.save_dir"),
        visualizer="mmseg.SegLocalVisualizer",
        tta_model=dict(type="SegTTAModel"),
        sides=(512, 512),
        segments=True,
    ),
    # what needs no host: style transfer
    "mmengine": Host(sample=("robustnet_mm.style_transfer", "StyleSample"), dump="DumpResults"),
}


def host_of(cfg: Mapping, of_images: bool = False) -> Host:
    """The host of a config.

    Args:
        cfg: The config.
        of_images: Ask for one whose models take an image and say what is in it.

    Raises:
        ValueError: A `default_scope` without a row, or of models that do something else.
    """
    scope = cfg.get("default_scope")
    if scope not in HOSTS:
        raise ValueError(
            f"default_scope must be one of {', '.join(HOSTS)}, got {scope!r}: the tools know no "
            "other host (robustnet_mm/hosts.py has a row for each)"
        )
    if of_images and HOSTS[scope].draw is None:
        known = ", ".join(name for name, host in HOSTS.items() if host.draw is not None)
        raise ValueError(
            f"default_scope must be one of {known} here, got {scope!r}, whose models see nothing "
            "in an image (style transfer: tools/stylize.py)"
        )
    return HOSTS[scope]
