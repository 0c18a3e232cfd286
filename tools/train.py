"""Train any config of this package: classification, detection, instance segmentation.

python tools/train.py configs/coco/mask-rcnn_robustnet-tiny-patch16_fpn_1x_coco.py
tools/dist_train.sh CONFIG GPUS [the same flags]
"""

import argparse

from robustnet_mm.engine.launch import (
    add_common_arguments,
    alone_in,
    build_runner,
    common_arguments,
    ending_on_interrupt,
    finish,
    how_to_resume,
    read_config,
    telling_who_is_lost,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a model")
    parser.add_argument("config", help="config file")
    parser.add_argument("--amp", action="store_true", help="mixed precision (needs a GPU)")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by the real batch size over auto_scale_lr.base_batch_size",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="PATH",
        help="go on from a checkpoint; without a path, from the newest one in the work dir",
    )
    add_common_arguments(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = read_config(**common_arguments(args))
    if args.amp:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        cfg.optim_wrapper.setdefault("loss_scale", "dynamic")
    if args.auto_scale_lr:
        if "base_batch_size" not in cfg.get("auto_scale_lr", {}):
            raise ValueError("--auto-scale-lr needs auto_scale_lr.base_batch_size in the config")
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        if not args.resume:
            raise ValueError("--resume= names no file: give a path, or --resume for the newest")
        cfg.resume = True
        cfg.load_from = None if args.resume == "auto" else args.resume
    interrupt = ending_on_interrupt(lambda: how_to_resume(cfg.work_dir))
    with alone_in(cfg), interrupt, telling_who_is_lost(cfg):
        build_runner(cfg, ("train", "val")).train()
    finish()


if __name__ == "__main__":
    main()
