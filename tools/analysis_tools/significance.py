"""Does a ViT's attention mean something? Five numbers over the test data of a config, with floors.

    python tools/analysis_tools/significance.py CONFIG [CHECKPOINT] [--block -1] [--foreground 3 8]

CONFIG is of any detector with masks or any segmentor whose backbone has a ViT tower; its backbone
alone is run. Without CHECKPOINT it starts as the config says (init_cfg); --random leaves it at
random, the control of what training taught. What follows ± is half a 95 % interval of the mean over
the images. docs/segmentation.md says what the numbers are.
"""

import argparse
import json
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils import track_iter_progress

from robustnet_mm.arguments import check_wholes
from robustnet_mm.attention import AttentionProbe, SignificanceMetric
from robustnet_mm.attention.masks import default_foreground
from robustnet_mm.attention.significance import NAMES
from robustnet_mm.engine.backbones import build_backbone
from robustnet_mm.engine.checks import check_normalization
from robustnet_mm.engine.launch import read_config
from robustnet_mm.files import WholeFileBackend


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Significance of a ViT's attention")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", nargs="?", help="of that config's model, or of its backbone")
    parser.add_argument("--random", action="store_true", help="no weights: the control")
    parser.add_argument("--block", type=int, default=-1, help="number; -1 is the last")
    parser.add_argument(
        "--foreground",
        type=int,
        nargs="+",
        metavar="CLASS",
        help="by default all objects, and of label maps all classes but a first 'background'",
    )
    parser.add_argument("--out", metavar="FILE.json", help="write the numbers here too")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args()


def table(found: dict[str, float]) -> str:
    lines = ["| number | here | uniform attention | random mask |", "|---|---|---|---|"]
    for name in NAMES:
        values = [found.get(f"significance/{name}{end}") for end in ("", "_uniform", "_random")]
        if values[0] is not None:
            cells = ["" if value is None else f"{value:.3f}" for value in values]
            half = found.get(f"significance/{name}_interval")
            cells[0] += "" if half is None else f" ± {half:.3f}"
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def foreground_of(dataset, asked: list[int] | None) -> list[int] | None:
    """Those that are asked for, or the default of label maps.

    Raises:
        ValueError: A number that is no class.
    """
    classes = (dataset.metainfo or {}).get("classes") or ()
    if asked is not None:
        check_wholes("--foreground", tuple(asked), 0, len(classes) - 1)
    semantic = "seg_map_path" in dataset.get_data_info(0)
    return default_foreground(classes) if asked is None and semantic else asked


def main():
    args = parse_args()
    cfg = read_config(args.config, args.cfg_options)
    check_normalization(cfg)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)  # of --random
    backbone = build_backbone(cfg, args.checkpoint, args.random)
    preprocessor = cfg.model.get("data_preprocessor") or cfg.data_preprocessor
    probe = AttentionProbe(backbone, dict(blocks=[args.block]), preprocessor)
    probe.to(get_device()).eval()
    loader = Runner.build_dataloader(cfg.test_dataloader)
    metric = SignificanceMetric(foreground_of(loader.dataset, args.foreground))
    for batch in track_iter_progress((loader, len(loader))):
        metric.process(batch, probe.test_step(batch))
    found = metric.evaluate(len(loader.dataset))
    print("\n" + table(found))
    if args.out:
        WholeFileBackend().put_text(json.dumps(found, indent=1), Path(args.out))


if __name__ == "__main__":
    main()
