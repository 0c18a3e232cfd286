"""A trained model as an ONNX file for any batch, height and width, or as torch's ExportedProgram.

    python tools/deployment/export.py CONFIG CHECKPOINT --out FILE.onnx [--part backbone|neck|model]

FILE.pt2 gives an ExportedProgram. The file is compared with the model on ten sizes before it is
written, and says in its metadata how far they differ, and how images are normalised. Extra
`export`; docs/export.md.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from mmengine.config import DictAction

from robustnet_mm.engine.backbones import load_model
from robustnet_mm.engine.checks import check_normalization
from robustnet_mm.engine.launch import read_config
from robustnet_mm.export import PARTS, Part, export_onnx, export_program
from robustnet_mm.models import fold_batchnorm


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Export a model")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="its weights")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx|FILE.pt2")
    parser.add_argument("--part", choices=PARTS, default="model")
    parser.add_argument("--no-fold", action="store_true", help="keep every BatchNorm")
    parser.add_argument("--opset", type=int, default=18, help="of ONNX")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args()
    if args.out.suffix not in (".onnx", ".pt2"):
        parser.error(f"--out must end in .onnx or .pt2, got {args.out}")
    return args


def main():
    args = parse_args()
    cfg = read_config(args.config, args.cfg_options)
    check_normalization(cfg)
    preprocessor = dict(cfg.model.get("data_preprocessor") or cfg.data_preprocessor)
    part = Part(load_model(cfg, args.checkpoint), args.part)
    if not args.no_fold:
        fold_batchnorm(part)
    if args.out.suffix == ".pt2":
        difference = export_program(part, args.out)
    else:
        channels = bool(preprocessor.get("to_rgb") or preprocessor.get("bgr_to_rgb"))
        facts = dict(
            part=args.part,
            config=Path(args.config).name,
            mean=json.dumps(list(preprocessor.get("mean", [0, 0, 0]))),
            std=json.dumps(list(preprocessor.get("std", [1, 1, 1]))),
            channels="RGB" if channels else "BGR",
        )
        difference = export_onnx(part, args.out, facts, args.opset)
    print(f"{args.out}: {', '.join(part.names)}; differs from torch by {difference:.2g} at most")


if __name__ == "__main__":
    logging.captureWarnings(True)
    try:
        main()
    except (ValueError, ImportError, FileNotFoundError) as error:
        sys.exit(f"export.py: {error}")
