"""A training's checkpoint as a folder to hand on: safetensors, config, and a card.

    python tools/model_converters/publish.py CHECKPOINT --out-dir DIR \
        [--data "COCO 2017"] [--license apache-2.0]

`robustnet_mm.inference.load_published(DIR)` loads it back; nothing is unpickled. docs/inference.md.
"""

import argparse
import sys

from robustnet_mm.inference import publish


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Publish a checkpoint")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--out-dir", required=True, help="a new folder")
    parser.add_argument("--config", metavar="FILE", help="default: the one in the checkpoint")
    parser.add_argument("--name", help="of the model")
    parser.add_argument("--data", help="what it was trained on, in words")
    parser.add_argument("--license", help="of these weights")
    return parser.parse_args()


def main():
    args = vars(parse_args())
    print(publish(args.pop("checkpoint"), args.pop("out_dir"), **args))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"publish.py: {error}")
