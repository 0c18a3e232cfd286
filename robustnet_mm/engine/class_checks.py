"""The number of classes: the same in the data, in every head and in the preprocessor."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS

from robustnet_mm.arguments import as_tuple
from robustnet_mm.datasets.annotations import few
from robustnet_mm.datasets.labels import Classes

# parts of a model whose `num_classes`, if any, is not that of the data
_OTHERS = ("backbone", "neck", "rpn_head", "semantic_head", "train_cfg", "test_cfg")
_HEADS = ("head", "bbox_head", "mask_head")  # have a number even where the config says nothing


def dicts_in(part: Any, key: str) -> Iterator[tuple[str, Mapping]]:
    """(key, dict) of a part of a config and of all dicts in it, the outer one first."""
    if isinstance(part, Mapping):
        yield key, part
        inner = part.items()
    else:
        inner = enumerate(part) if isinstance(part, (list, tuple)) else ()
    for name, value in inner:
        yield from dicts_in(value, f"{key}.{name}")


def class_of(cfg: Mapping, scope: str | None) -> type | None:
    """The class of a module's config; None where no registry has it."""
    kind = cfg.get("type")
    if not isinstance(kind, str):
        return kind
    scope = cfg.get("_scope_") or scope
    named = f"{scope}.{kind}" if scope and "." not in kind else kind
    return MODELS.get(named) or MODELS.get(kind)


def default_of(kind: type | None, name: str) -> Any:
    """The default of an argument of a class, or of the parent that takes it; None for none."""
    for base in getattr(kind, "__mro__", ()):
        if "__init__" in vars(base):
            found = inspect.signature(base.__init__).parameters.get(name)
            if found is not None:
                return None if found.default is found.empty else found.default
    return None


def class_numbers(cfg: Mapping) -> dict[str, Any]:
    """Config key of each number of classes of a model -> the number, set or by default."""
    numbers = {}
    for key, part in dicts_in(cfg.get("model") or {}, "model"):
        names = [name for name in key.split(".") if not name.isdecimal()]
        if set(names) & {*_OTHERS, "data_preprocessor"}:
            continue
        number = part.get("num_classes")
        if number is None and names[-1] in _HEADS:
            number = default_of(class_of(part, cfg.get("default_scope")), "num_classes")
        if number is not None:
            numbers[f"{key}.num_classes"] = number
    model_has_one = bool((cfg.get("model") or {}).get("data_preprocessor"))
    place = "model.data_preprocessor" if model_has_one else "data_preprocessor"
    done = cfg.get("data_preprocessor") if not model_has_one else cfg["model"]["data_preprocessor"]
    if (done or {}).get("num_classes") is not None:
        numbers[f"{place}.num_classes"] = done["num_classes"]
    return numbers


def check_classes(cfg: Mapping, found: Mapping[str, Classes]) -> None:
    """Each number of classes of the model must be that of the data, and the data agree.

    Heads of too many classes train without a word, and predict what is not there.

    Args:
        cfg: The whole config.
        found: What `check_data` knows of its datasets.

    Raises:
        ValueError: Names the keys to set.
    """
    numbers = class_numbers(cfg)
    named = {where: known.names for where, known in found.items() if known.names is not None}
    first = next(iter(named), None)
    for where, names in named.items():
        if names != named[first]:
            raise ValueError(
                f"{where} must have the classes of {first} in the same order, which numbers the "
                f"labels, {few(named[first])}; got {few(names)}: write the same metainfo.classes "
                "in both, or give both the same folders"
            )
    for where, (names, at_least) in found.items():
        right = at_least if names is None else len(names)
        wrong = [
            key
            for key, number in numbers.items()
            if (number != right if names is not None else number < right)
        ]
        if wrong:
            of = f"has {right} classes ({few(names)})" if names is not None else (
                f"has labels up to {right - 1}"
            )  # fmt: skip
            raise ValueError(
                f"num_classes must be that of the data, {where} {of}, got "
                f"{', '.join(f'{key}={numbers[key]}' for key in wrong)}: set --cfg-options "
                f"{' '.join(f'{key}={right}' for key in wrong)}"
            )


def check_trained_classes(checkpoint: Mapping, names: Sequence[str] | None, path: str) -> None:
    """What is tested must have the classes of the training, in the same order.

    Args:
        checkpoint: mmengine's, whose `meta` says with which classes it was trained, if it does.
        names: Of the data of the test; None where they are not known.
        path: The checkpoint's, for the message.

    Raises:
        ValueError: They differ.
    """
    meta = checkpoint.get("meta")
    data = meta.get("dataset_meta") if isinstance(meta, Mapping) else None
    trained = as_tuple(data.get("classes")) if isinstance(data, Mapping) else None
    if trained and names is not None and list(trained) != list(names):
        raise ValueError(
            f"the classes of the test must be those with which {path} was trained, which number "
            f"the labels, {len(trained)} ({few(trained)}); got {len(names)} ({few(names)}): name "
            "the data of these classes, or write their names as metainfo.classes of the test's "
            "dataset"
        )
