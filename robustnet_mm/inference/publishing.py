"""A training's checkpoint as a folder to hand on: weights, config, and a card that says what it is.

model.safetensors   the weights alone, which nothing unpickles
config.py           the whole config, without what belongs to the training's machine
README.md           the card
"""

import ast
import hashlib
import platform
import re
from collections.abc import Mapping
from copy import deepcopy
from importlib import metadata
from pathlib import Path

import timm
from mmengine.config import Config
from safetensors.torch import save
from torch import nn

import robustnet_mm
from robustnet_mm.datasets.checks import leaf_datasets
from robustnet_mm.engine.backbones import build_model, load_model
from robustnet_mm.engine.class_checks import dicts_in
from robustnet_mm.engine.launch import read_config
from robustnet_mm.engine.records import read_epochs
from robustnet_mm.files import WholeFileBackend
from robustnet_mm.weights.files import find_state_dict, read_checkpoint
from robustnet_mm.weights.load import load_into

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.py", "README.md"
NOT_STATED = "not stated"
_MODULES = "torch torchvision timm mmengine mmcv mmdet mmpretrain mmseg".split()
_LINES = """# {name}

Made by robustnet_mm {version} from `{file}` ({when}).

| | |
|---|---|
| model | {model} |
| trained on | {data} |
| licence of these weights | {license} |
| classes | {classes} |
| parameters | {parameters:,} |
| sha256 of {weights} | `{digest}` |

## What it started from
{towers}

## Metrics
{metrics}

## Load it
```python
from robustnet_mm.inference import load_published

model = load_published("{folder}")
```
or `python tools/predict.py {folder}/{config} {folder}/{weights} IMAGES --out-dir predicted`.
The weights hold no code; `config.py` is a config as any other: read it before you build from it.

## Versions
{versions}
"""


def publish(
    checkpoint: str | Path,
    out_dir: str | Path,
    config: str | Path | None = None,
    name: str | None = None,
    data: str | None = None,
    license: str | None = None,
) -> Path:
    """Write the folder of a checkpoint.

    Args:
        checkpoint: Of a training by mmengine; where it holds averaged weights, these are taken.
        out_dir: The folder, which must be empty or not there.
        config: By default the one that the checkpoint carries.
        name: Of the model; by default that of the config or of the folder.
        data: What it was trained on; by default type and place of the config's training data.
        license: Of these weights; by default it stays open, and the card says so.

    Returns:
        The folder.

    Raises:
        ValueError: The checkpoint carries no config, or does not fit it, or the folder holds files.
        FileNotFoundError: No such checkpoint or config.
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise ValueError(f"out_dir {out_dir} must be an empty folder or a new one: name another")
    content = read_checkpoint(checkpoint)
    meta = content.get("meta") or {}
    cfg = _config_of(content, config)
    weights = {k: v.detach().clone().contiguous() for k, v in find_state_dict(content).items()}
    plain = without_the_machine(cfg, meta)
    model = build_model(plain)
    load_into(model, weights, str(checkpoint))
    saved = save(weights, metadata=dict(format="pt"))
    title = name or (Path(config).stem if config else out_dir.name)
    text = _LINES.format(
        name=title,
        version=robustnet_mm.__version__,
        file=Path(checkpoint).name,
        when=_moment(meta),
        model=_describe(plain),
        data=data or _data_of(cfg),
        license=license or NOT_STATED,
        classes=_classes_of(plain, meta),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        digest=hashlib.sha256(saved).hexdigest(),
        towers=towers_of(cfg),
        metrics=_metrics(Path(checkpoint).parent, meta),
        folder=out_dir.name,
        weights=WEIGHTS,
        config=CONFIG,
        versions=_versions(),
    )
    backend = WholeFileBackend()
    backend.put(saved, out_dir / WEIGHTS)
    backend.put_text(_without_places(plain), out_dir / CONFIG)
    backend.put_text(text, out_dir / CARD)
    return out_dir


def load_published(folder: str | Path) -> nn.Module:
    """The model of a published folder, with its weights, in eval mode, on the CPU.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The weights do not fit.
    """
    model = load_model(read_config(Path(folder, CONFIG)), Path(folder, WEIGHTS))
    model.eval()  # which of mmpretrain's returns nothing
    return model


def _config_of(content: Mapping, config: str | Path | None) -> Config:
    if config is not None:
        return read_config(config)
    text = (content.get("meta") or {}).get("cfg")
    if not isinstance(text, str):
        raise ValueError("the checkpoint carries no config: name it by --config FILE.py")
    if not is_plain(text):
        raise ValueError(
            "the config in the checkpoint holds code, which is not run: name a config that you "
            "trust by --config FILE.py"
        )
    return Config.fromstring(text, ".py")


def is_plain(text: str) -> bool:
    """Whether a config says values and nothing else: literals, and `dict(...)` of them."""
    allowed = (ast.Module, ast.Assign, ast.Name, ast.Store, ast.Load, ast.Constant, ast.List)
    allowed += (ast.Tuple, ast.Dict, ast.Set, ast.Call, ast.keyword, ast.UnaryOp, ast.USub)
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        return False
    calls = (node.func for node in nodes if isinstance(node, ast.Call))
    only_dicts = all(isinstance(func, ast.Name) and func.id == "dict" for func in calls)
    return only_dicts and all(isinstance(node, allowed) for node in nodes)


def _datasets(cfg: Config, split: str) -> list[Mapping]:
    loader = cfg.get(f"{split}_dataloader") or {}
    return [dataset for _, dataset in leaf_datasets(loader.get("dataset"), "")]


def without_the_machine(cfg: Config, meta: Mapping) -> Config:
    """A config that needs no file but the weights, and knows its classes.

    Args:
        cfg: Of the training.
        meta: Of the checkpoint; says the names of the classes.
    """
    plain = deepcopy(cfg)
    for key in ("work_dir", "load_from", "resume", "launcher", "log_file"):
        plain.pop(key, None)
    for _, part in list(dicts_in(plain.model, "model")):
        if "init_cfg" in part:
            part["init_cfg"] = None
    classes = (meta.get("dataset_meta") or {}).get("classes")
    for split in ("val", "test") if classes else ():
        for dataset in _datasets(plain, split):
            dataset["metainfo"] = dict(dataset.get("metainfo") or {}, classes=tuple(classes))
    return plain


def _without_places(cfg: Config) -> str:
    """The text of a config: folders of data become data/NAME, other absolute paths their name."""
    roots = {
        str(dataset.get("data_root") or "").rstrip("/")
        for split in ("train", "val", "test")
        for dataset in _datasets(cfg, split)
    }
    roots = [root for root in roots if root.startswith("/")]

    def strip(value):
        if isinstance(value, Mapping):
            return {key: strip(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(strip, value))
        if not isinstance(value, str) or not value.startswith("/"):
            return value
        for root in roots:
            if value.rstrip("/") == root or value.startswith(f"{root}/"):
                return f"data/{Path(root).name}{value[len(root) :]}"
        return Path(value).name

    return Config(strip(cfg.to_dict())).pretty_text


def _describe(cfg: Config) -> str:
    backbone = cfg.model.get("backbone") or {}
    parts = [str(cfg.model.type), str(backbone.get("type"))]
    parts += [
        f"{key}={backbone[key]!r}" for key in ("arch", "direction", "form") if key in backbone
    ]
    return ", ".join(parts)


def _data_of(cfg: Config) -> str:
    found = [
        f"{dataset.get('type')} ({Path(str(dataset.get('data_root') or '.')).name or 'no folder'})"
        for dataset in _datasets(cfg, "train")
    ]
    return ", ".join(found) or NOT_STATED


def _classes_of(cfg: Config, meta: Mapping) -> str:
    classes = (meta.get("dataset_meta") or {}).get("classes") or ()
    shown = ", ".join(str(name) for name in classes[:10])
    return (
        f"{len(classes)}: {shown}{', ...' if len(classes) > 10 else ''}" if classes else NOT_STATED
    )


def towers_of(cfg: Config) -> str:
    """A line for each tower: its network, its file, and the licence that timm states for it."""
    lines = []
    for name in ("cnn", "vit"):
        tower = (cfg.model.get("backbone") or {}).get(name)
        if not isinstance(tower, Mapping):
            continue
        start = tower.get("init_cfg") or {}
        network = tower.get("model_name") or tower.get("arch")
        network = network or f"the {name} tower of {cfg.model.backbone.get('arch')}"
        if not start:
            lines.append(f"- {name}: {network}, from scratch or with the whole model")
            continue
        file = Path(str(start.get("checkpoint") or "")).name
        source = f"file `{file}`" if file else "the weights that timm publishes"
        lines.append(f"- {name}: {network}, from {source}; licence: {_license(network, file)}")
    return "\n".join(lines) or "- random weights, or a checkpoint of the whole model"


def _license(network: str, file: str) -> str:
    found = timm.get_pretrained_cfg(network) if timm.is_model(network) else None
    stated = getattr(found, "license", None)
    if not stated:
        return NOT_STATED
    return f"{stated}, if the file is timm's `{found.tag or network}`" if file else stated


def _metrics(folder: Path, meta: Mapping) -> str:
    """The validation of the checkpoint's epoch, from the log beside it."""
    try:
        epochs = read_epochs(folder)
    except (ValueError, OSError):
        return f"{NOT_STATED}: no log of a validation beside the checkpoint"
    step = meta.get("epoch") or meta.get("iter")  # an IterBasedTrainLoop counts no epochs
    found = [one for one in epochs if one["epoch"] == step]
    if not found:
        return f"{NOT_STATED}: the log beside the checkpoint is of other epochs"
    numbers = {key: value for key, value in found[-1].items() if key != "epoch"}
    rows = [f"| {key} | {value:.4g} |" for key, value in numbers.items()]
    return "\n".join(["| metric | value |", "|---|---|", *rows])


def _moment(meta: Mapping) -> str:
    parts = [f"{key} {meta[key]}" for key in ("epoch", "iter") if key in meta]
    return ", ".join(parts) or "of no training by mmengine"


def _versions() -> str:
    packages = metadata.packages_distributions()
    lines = [f"- Python {platform.python_version()}"]
    for module in _MODULES:
        for distribution in packages.get(module, ())[:1]:
            lines.append(f"- {distribution} {re.split('[+]', metadata.version(distribution))[0]}")
    return "\n".join(lines)
