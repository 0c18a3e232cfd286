"""Parameters and multiply-adds of a config's model, part by part, for one image.

    python tools/analysis_tools/get_flops.py CONFIG [--shape 800 1344] [--cfg-options KEY=VALUE]

Counted by torch's FlopCounterMode while the model predicts, attention included; normalisation,
activations and pooling are not counted. What a detector's heads do depends on its proposals.
"""

import argparse

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from robustnet_mm.hosts import Host, host_of


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count parameters and multiply-adds")
    parser.add_argument("config", help="config file")
    parser.add_argument("--shape", type=int, nargs="+", metavar="SIDE", help="height [width]")
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


def main():
    args = parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.default_scope)
    host = host_of(cfg, of_images=True)
    sides = args.shape or host.sides
    shape = (sides[0], sides[-1])
    parts = count(MODELS.build(cfg.model), make_input(host, shape))
    print(f"{args.config} at {shape[0]} x {shape[1]}")
    print(f"{'part':24} {'parameters (M)':>16} {'multiply-adds (G)':>18}")
    for name, (parameters, multiply_adds) in parts.items():
        print(f"{name:24} {parameters / 1e6:16.3f} {multiply_adds / 1e9:18.3f}")


if __name__ == "__main__":
    main()
