"""Test any config: COCO mAP for detectors, top-1 of both towers, losses of style transfer.

python tools/test.py CONFIG CHECKPOINT
tools/dist_test.sh CONFIG CHECKPOINT GPUS [the same flags]
"""

import argparse
import os
from pathlib import Path
from tempfile import TemporaryFile

from mmengine.config import Config, ConfigDict
from mmengine.model import is_model_wrapper
from mmengine.registry import METRICS
from mmengine.runner import Runner

from robustnet_mm.engine.class_checks import check_trained_classes
from robustnet_mm.engine.launch import (
    add_common_arguments,
    build_runner,
    common_arguments,
    ending_on_interrupt,
    finish,
    make_work_dir,
    read_config,
    telling_who_is_lost,
)
from robustnet_mm.hosts import host_of
from robustnet_mm.weights.files import find_state_dict, read_checkpoint
from robustnet_mm.weights.load import load_into


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Test a model")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--out", metavar="FILE.pkl", help="write all predictions to a pickle file")
    parser.add_argument("--show", action="store_true", help="show predictions in a window")
    parser.add_argument("--show-dir", help="write pictures of predictions here")
    parser.add_argument("--wait-time", type=float, default=2, help="seconds per shown picture")
    parser.add_argument("--tta", action="store_true", help="test-time augmentation: flips")
    add_common_arguments(parser)
    return parser.parse_args()


def check_out(out: str):
    """Found before the test and not after it: a name of another kind, a place to which one cannot.

    Raises:
        ValueError: Names the path, and what to do.
    """
    if not out.endswith((".pkl", ".pickle")):
        raise ValueError(f"--out must name a .pkl or .pickle file, got {out}")
    try:
        if Path(out).is_dir():
            raise IsADirectoryError("it is a folder")
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=Path(out).parent):
            pass
    except OSError as error:
        raise ValueError(f"--out {out} cannot be written ({error}): name another file") from error


def draw_predictions(cfg: Config, args: argparse.Namespace):
    """Switch on the host's visualisation hook, whose fields differ between the hosts."""
    switch, folder = host_of(cfg, of_images=True).draw
    settings = dict(switch, show=args.show, wait_time=args.wait_time)
    cfg.default_hooks.visualization.update(settings)
    if args.show_dir:
        cfg.merge_from_dict({folder: args.show_dir})


def add_tta(cfg: Config):
    """Average over flips: the config's own `tta_model` and `tta_pipeline`, or the host's usual."""
    data = cfg.test_dataloader.dataset
    while "dataset" in data:
        data = data.dataset
    host = host_of(cfg, of_images=True)
    if "tta_model" not in cfg:
        masks = (cfg.model.get("roi_head") or {}).get("mask_head")
        cfg.tta_model = host.tta_mask_model if masks else host.tta_model
    if "tta_pipeline" not in cfg:
        # as it is comes first: mmseg compares with the labels of the first
        flips = [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)]
        *steps, pack = data.pipeline
        steps = [step for step in steps if step.type not in host.tta_drops]
        if host.tta_keys:
            pack.meta_keys = (*pack.meta_keys, *host.tta_keys)
        cfg.tta_pipeline = [*steps, dict(type="TestTimeAug", transforms=[flips, [pack]])]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    data.pipeline = cfg.tta_pipeline


def load_all(runner: Runner, checkpoint: dict, path: str):
    """Every weight of the model comes from the checkpoint, or the test does not start."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    model = model.module if runner.cfg.get("tta_model") and hasattr(model, "module") else model
    report = load_into(model, find_state_dict(checkpoint), path)
    runner.logger.info(f"the checkpoint fits: {report}")


def main():
    args = parse_args()
    if args.out:
        check_out(args.out)
    checkpoint = read_checkpoint(args.checkpoint)
    cfg = read_config(**common_arguments(args))
    cfg.load_from, cfg.resume = None, False
    host_of(cfg)  # an unknown one is told now
    make_work_dir(cfg.work_dir)
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    if args.tta:
        add_tta(cfg)
    interrupt = ending_on_interrupt(lambda: "the test has no result, start it again")
    with interrupt, telling_who_is_lost(cfg):
        runner = build_runner(cfg, ("test",))
        load_all(runner, checkpoint, args.checkpoint)
        meta = getattr(runner.test_loop.dataloader.dataset, "metainfo", {})
        check_trained_classes(checkpoint, meta.get("classes"), args.checkpoint)
        if args.out:
            part = f"{args.out}.part.pkl"  # whole or not at all
            metric = METRICS.build(dict(type=host_of(cfg).dump, out_file_path=part))
            runner.test_evaluator.metrics.append(metric)
        runner.test()
        if args.out and runner.rank == 0:
            os.replace(part, args.out)
    finish()


if __name__ == "__main__":
    main()
