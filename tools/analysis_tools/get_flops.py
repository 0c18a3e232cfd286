"""Parameters and multiply-adds of a config's model, part by part, for one image; or of several.

    python tools/analysis_tools/get_flops.py CONFIG... [--shape 800 1344] [--time]
        [--cfg-options KEY=VALUE]

Several configs are a row each, beside the figures that others published of them where a config has
`published = dict(source=..., parameters=MILLIONS, multiply_adds=BILLIONS, shape=(HEIGHT, WIDTH))`;
its shape is then the default. --time: seconds of a forward pass on the CPU, one thread, all models
in turn, median of five rounds.

Counted by torch's FlopCounterMode while the model predicts, attention included; normalisation,
activations and pooling are not counted. What a detector's heads do depends on its proposals.
"""

import argparse
from collections.abc import Callable
from statistics import median

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from timing import in_rounds
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from robustnet_mm.engine.backbones import build_model
from robustnet_mm.hosts import Host, host_of

UNITS = dict(parameters="M", multiply_adds="G")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count parameters and multiply-adds")
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="config file")
    parser.add_argument("--shape", type=int, nargs="+", metavar="SIDE", help="height [width]")
    parser.add_argument("--time", action="store_true", help="time a forward pass as well")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args()


def make_input(host: Host, shape: tuple[int, int]) -> dict:
    """One random image with the data sample that the host expects."""
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, scale_factor=(1.0, 1.0))
    sample = host.sample_type()(metainfo=meta)
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    return dict(inputs=[image], data_samples=[sample])


def count(model: torch.nn.Module, data: dict) -> dict[str, tuple[int, int]]:
    """Part -> (parameters, multiply-adds); the backbone's parts stand for themselves."""
    model.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.test_step(data)
    flops = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    parts = {}
    for name, module in model.named_children():
        inner = module.named_children() if name == "backbone" else [("", module)]
        for child, part in inner:
            path = f"{name}.{child}".rstrip(".")
            parameters = sum(p.numel() for p in part.parameters())
            if parameters:
                parts[path] = (parameters, _below(flops, f"{type(model).__name__}.{path}") // 2)
    total = sum(p.numel() for p in model.parameters())
    return parts | {"all": (total, flops["Global"] // 2)}


def _below(flops: dict[str, int], path: str) -> int:
    """Sum over the outermost modules at or below `path`: a list of modules itself never runs."""
    inside = [name for name in flops if name == path or name.startswith(f"{path}.")]
    outermost = [n for n in inside if not any(n.startswith(f"{other}.") for other in inside)]
    return sum(flops[name] for name in outermost)


def read(config: str, args: argparse.Namespace) -> tuple[Config, tuple[int, int]]:
    """The config, and height and width of its image."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(args.cfg_options or {})
    host = host_of(cfg, of_images=True)
    sides = args.shape or cfg.get("published", {}).get("shape") or host.sides
    return cfg, (sides[0], sides[-1])


def build(cfg: Config, shape: tuple[int, int]) -> tuple[torch.nn.Module, dict]:
    """The model, and an image for it."""
    init_default_scope(cfg.default_scope)
    return build_model(cfg).eval(), make_input(host_of(cfg), shape)


def pass_of(model: torch.nn.Module, data: dict) -> Callable:
    """What is timed: an image to the outputs of the head, without what follows them."""
    images = model.data_preprocessor(data, False)["inputs"]
    head = getattr(model, "decode_head", getattr(model, "head", torch.nn.Identity()))

    @torch.no_grad()
    def run():
        head(model.extract_feat(images))

    return run


def print_parts(config: str, shape: tuple[int, int], parts: dict):
    print(f"{config} at {shape[0]} x {shape[1]}")
    print(f"{'part':24} {'parameters (M)':>16} {'multiply-adds (G)':>18}")
    for name, (parameters, multiply_adds) in parts.items():
        print(f"{name:24} {parameters / 1e6:16.3f} {multiply_adds / 1e9:18.3f}")


def print_rows(rows: dict[str, dict]):
    """A Markdown table."""
    print("| config | shape | parameters (M) | multiply-adds (G) | forward (s) | published |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        parameters, multiply_adds = row["counted"]
        seconds = f"{row['seconds']:.3f}" if "seconds" in row else ""
        published = dict(row["published"])
        if tuple(published.get("shape", row["shape"])) != row["shape"]:
            published.pop("multiply_adds", None)  # they are of another shape
        known = [f"{published[k]} {unit}" for k, unit in UNITS.items() if k in published]
        source = f" ({published['source']})" if published else ""
        print(
            f"| {name} | {row['shape'][0]} x {row['shape'][1]} | {parameters / 1e6:.2f} | "
            f"{multiply_adds / 1e9:.3f} | {seconds} | {', '.join(known)}{source} |"
        )


def main():
    args = parse_args()
    rows, steps = {}, {}
    for config in args.configs:
        cfg, shape = read(config, args)
        model, data = build(cfg, shape)
        parts = count(model, data)
        if len(args.configs) == 1 and not args.time:
            print_parts(config, shape, parts)
            return
        rows[config] = dict(shape=shape, counted=parts["all"], published=cfg.get("published", {}))
        steps[config] = pass_of(model, data)
    if args.time:
        torch.set_num_threads(1)
        for config, seconds in in_rounds(steps, rounds=5).items():
            rows[config]["seconds"] = median(seconds)
    print_rows(rows)


if __name__ == "__main__":
    main()
