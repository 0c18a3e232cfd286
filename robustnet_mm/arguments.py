"""Checks of arguments: an error names the argument, what is allowed, what came, the next step."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from inspect import Parameter
from math import inf
from numbers import Integral, Real
from typing import Any

LOAD = "dict(type='robustnet_mm.PretrainedTower', checkpoint='FILE')"


def nearest(value: Any, allowed: Iterable[str]) -> str:
    """A hint at the name that was perhaps meant, '' if none is close."""
    close = get_close_matches(str(value), list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def is_number(value: Any) -> bool:
    """True for a finite number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < inf


def as_tuple(value: Any) -> tuple | None:
    """The values of a list, tuple or array; None for a word, a dict or a single value."""
    value = value.tolist() if hasattr(value, "tolist") else value
    listed = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    return tuple(value) if listed else None


def check_choice(name: str, value: Any, allowed: Iterable[str], also: str = "") -> None:
    """`value` must be one of the names `allowed`; `also` ends the message."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        hint = nearest(value, allowed) + also
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{hint}")


def check_flag(name: str, value: Any) -> None:
    """Any word is true to Python, 'no' as well."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_rate(name: str, value: Any) -> None:
    """A share of what is dropped, in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value!r}")


def check_whole(name: str, value: Any, low: int, high: int | None = None, also: str = "") -> None:
    """A whole number from `low` to `high`, both included; `also` ends the message."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"in {low}..{high}" if high is not None else f"a whole number from {low} on"
        raise ValueError(f"{name} must be {allowed}, got {value!r}{also}")


def check_number(name: str, value: Any, low: float = 0.0) -> None:
    if not is_number(value) or value < low:
        raise ValueError(f"{name} must be a finite number >= {low:g}, got {value!r}")


def check_wholes(name: str, values: Any, low: int, high: int | None = None) -> tuple[int, ...]:
    """A list of whole numbers from `low` to `high`, as a tuple."""
    listed = as_tuple(values)
    if listed is None:
        hint = f": write [{values}]" if isinstance(values, Integral) else ""
        raise ValueError(f"{name} must be a list of whole numbers, got {values!r}{hint}")
    for value in listed:
        check_whole(f"each of {name}", value, low, high)
    return listed


def check_text(name: str, value: Any, example: str) -> None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be None or a word such as {example!r}, got {value!r}")


def check_patterns(name: str, values: Any, example: str) -> tuple[str, ...]:
    """A regular expression, or a list of them, as a tuple."""
    listed = (values,) if isinstance(values, str) else as_tuple(values)
    if listed is None or not all(isinstance(value, str) and value for value in listed):
        raise ValueError(
            f"{name} must hold patterns of keys such as {example!r}, got {values!r}, of which an "
            "empty one allows everything"
        )
    for value in listed:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(
                f"{name} must hold regular expressions such as {example!r}, got {value!r} "
                f"({error}): put a backslash before what stands for itself"
            ) from error
    return listed


def check_dict(name: str, value: Any, example: str) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be a dict such as {example}, got {value!r}")


def check_init_cfg(owner: object, init_cfg: Any) -> None:
    """Found when the module is made: mmengine looks at it only where `init_weights` is called."""
    if init_cfg is None:
        return
    for cfg in init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]:
        if not (isinstance(cfg, Mapping) and "type" in cfg):
            raise ValueError(
                f"init_cfg of {type(owner).__name__} must be None or {LOAD}, got {init_cfg!r}"
            )


def arguments_of(kind: type) -> dict[str, Parameter] | None:
    """The arguments that a class takes by name, its parents' where it passes on `**kwargs`.

    None where the last one, too, takes whatever comes.
    """
    names = {}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            given = list(inspect.signature(base.__init__).parameters.values())[1:]
            own = [p for p in given if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
            names = {p.name: p for p in own} | names
            if not any(p.kind is p.VAR_KEYWORD for p in given):
                return names
    return None


def strange_names(key: str, cfg: Mapping, kind: type, given: tuple = ()) -> Iterator[tuple]:
    """(config key, what is wrong) of each name in a module's config that its class does not take.

    `given` are names that the config must not have, because others give them.
    """
    taken = arguments_of(kind)
    for name in cfg if taken is not None else ():
        if name in given or (name not in taken and name not in ("type", "_scope_")):
            allowed = sorted(taken.keys() - set(given))
            yield (
                f"{key}.{name}",
                f"{key}.{name} is no argument of {kind.__name__}, which takes "
                f"{', '.join(allowed)}{nearest(name, allowed)}",
            )


def check_names(key: str, cfg: Mapping, kind: type, given: tuple = ()) -> None:
    """A module's config has only names that its class takes, and all that it cannot do without."""
    for _, message in strange_names(key, cfg, kind, given):
        raise ValueError(message)
    for name, argument in (arguments_of(kind) or {}).items():
        if argument.default is Parameter.empty and name not in (*cfg, *given):
            raise ValueError(f"{key} must have {name}, which {kind.__name__} needs, got {cfg!r}")
