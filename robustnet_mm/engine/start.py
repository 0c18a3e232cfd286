"""What a training starts from: the checkpoint is found, read safely and held against the model."""

import logging
import re

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from robustnet_mm.engine.checkpoints import find_newest
from robustnet_mm.weights.files import find_state_dict, read_checkpoint, some
from robustnet_mm.weights.load import HALF, in_half_precision

_OF_A_TRAINING = ("meta", "state_dict", "optimizer", "message_hub")  # what mmengine's resume reads


def read_start(cfg: Config) -> dict | None:
    """The content of `load_from`, or of the checkpoint to be resumed, which becomes `load_from`.

    A broken or missing file is so found before the model and the data are built.

    Raises:
        FileNotFoundError, ValueError, ConnectionError: As `read_checkpoint` says, or what is to be
            resumed is not of a training.
    """
    start, resume = cfg.get("load_from"), bool(cfg.get("resume"))
    if resume and start is None:
        newest = find_newest(cfg)
        if newest is None:
            print_log(f"nothing to resume in {cfg.work_dir}: training starts anew", "current")
            cfg.resume = False
            return None
        cfg.load_from, content = str(newest[0]), newest[1]
    elif start is None:
        return None
    else:
        content = read_checkpoint(start)
    if resume and content is not None:
        _check_resumable(cfg, content)
    return content


def _check_resumable(cfg: Config, content: dict):
    needed = [*_OF_A_TRAINING, *(["param_schedulers"] if cfg.get("param_scheduler") else [])]
    missing = [key for key in needed if not isinstance(content.get(key), (dict, list))]
    meta = content["meta"] if "meta" not in missing else {}
    missing += [f"meta.{u}" for u in ("epoch", "iter") if not isinstance(meta.get(u), int)]
    if missing:
        raise ValueError(
            f"only the checkpoint of a training can be resumed, {cfg.load_from} lacks "
            f"{', '.join(missing)}: start a new training from its weights by load_from="
            f"{cfg.load_from}, without --resume"
        )
    loop = cfg.get("train_cfg") or {}
    for unit, most in (("epoch", loop.get("max_epochs")), ("iter", loop.get("max_iters"))):
        if most is not None and meta[unit] >= most:
            key = f"train_cfg.max_{unit}s"
            print_log(
                f"{cfg.load_from} is of {unit} {meta[unit]}, and {key} is {most}: the training is "
                f"finished, and nothing is left to do. To train longer, set {key} and the ends of "
                "param_scheduler",
                "current",
                logging.WARNING,
            )


def _taken_by_mmengine(checkpoint: dict) -> dict[str, torch.Tensor]:
    """The weights that mmengine finds in a checkpoint: it looks under 'state_dict' alone."""
    held = checkpoint.get("state_dict", checkpoint)
    weights = {key: value for key, value in held.items() if torch.is_tensor(value)}
    return {key.removeprefix("module."): value for key, value in weights.items()}


def _layers_of_exchanges(keys) -> set[str]:
    found = (re.search(r"\bfius\.\d+\.\w+\.(proj|linear)\.weight$", key) for key in keys)
    return {match[1] for match in found if match}


def check_fit(model: nn.Module, checkpoint: dict, resume: bool = False):
    """`load_from` takes what fits: refuse a file that hardly does, from another architecture.

    What is resumed must fit to the last key: fresh parts in the middle of a schedule would learn
    at the rate, and with the optimiser's state, of trained ones.

    Raises:
        ValueError: Of another architecture, not finite, in half precision or, when it is resumed,
            of another model.
    """
    model = model.module if is_model_wrapper(model) else model
    found, own = _taken_by_mmengine(checkpoint), model.state_dict()
    backbone = [key for key in own if key.startswith("backbone.")]
    fit = [key for key in backbone if key in found and found[key].shape == own[key].shape]
    if 2 * len(fit) < len(backbone):
        if not fit and not (wrapped := find_state_dict(checkpoint)).keys().isdisjoint(backbone):
            raise ValueError(
                "load_from names a checkpoint whose weights are wrapped otherwise than mmengine "
                f"reads them (it finds {some(found, 3) or 'none'}): save them by torch.save("
                f"dict(state_dict=weights), FILE), with keys such as {some(wrapped, 1)}"
            )
        raise ValueError(
            f"load_from or resume names a checkpoint of another architecture: {len(fit)} of the "
            f"{len(backbone)} tensors of the backbone are in it (it holds {some(found, 3)}): check "
            "model.backbone, or load published networks by init_cfg=dict(type="
            "'robustnet_mm.PretrainedTower', ...) of each tower"
        )
    if (_layers_of_exchanges(own), _layers_of_exchanges(found)) == ({"linear"}, {"proj"}):
        raise ValueError(
            "load_from names a checkpoint whose exchanges are of another form: set model.backbone."
            "form='gated', the default of its time ('ungated' for gate=None), or start fresh "
            "exchanges: model.backbone.init_cfg=dict(type='robustnet_mm.PretrainedTower', "
            "checkpoint=FILE, prefix='backbone.', allow_missing=['fius.']) and no load_from"
        )
    bad = [k for k in own if k in found and not found[k].isfinite().all()]
    if bad:
        raise ValueError(
            f"load_from or resume names a checkpoint with weights that are not finite ({some(bad)})"
            ": the training that wrote it had diverged, name an earlier one"
        )
    half = [k for k in found if k in own and in_half_precision(found[k], own[k])]
    if half:
        raise ValueError(
            f"load_from or resume names a checkpoint in half precision ({some(half)}). {HALF}"
        )
    other = [
        f"{key} {_shape(found.get(key))}, here {_shape(own.get(key))}"
        for key in dict.fromkeys([*own, *found])
        if _shape(found.get(key)) != _shape(own.get(key))
    ]
    if resume and other:
        raise ValueError(
            f"a training is resumed with the model of its checkpoint, but {len(other)} tensors are "
            f"others: {some(other, 3)}. Put num_classes, direction and the rest of the model back, "
            "or start a new training from these weights: load_from=FILE, no --resume, another "
            "--work-dir"
        )


def _shape(tensor: torch.Tensor | None) -> tuple | str:
    return "missing" if tensor is None else tuple(tensor.shape)
