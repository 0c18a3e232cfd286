"""Checks of arguments: an error names the argument, what is allowed, what came, the next step."""

import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

LOAD = "dict(type='robustnet_mm.PretrainedTower', checkpoint='FILE')"


def nearest(value: Any, allowed: Iterable[str]) -> str:
    """A hint at the name that was perhaps meant, '' if none is close."""
    close = get_close_matches(str(value), list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


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


def check_dict(name: str, value: Any, example: str) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a dict such as {example}, got {value!r}")


def check_init_cfg(owner: object, init_cfg: Any) -> None:
    """Found when the module is made: mmengine looks at it only where `init_weights` is called."""
    each = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    for cfg in each:
        if cfg is not None and not (isinstance(cfg, Mapping) and "type" in cfg):
            raise ValueError(
                f"init_cfg of {type(owner).__name__} must be None or {LOAD}, got {cfg!r}"
            )


def arguments_of(kind: type) -> set[str] | None:
    """Names of the arguments that a class takes, its parents' where it passes on `**kwargs`.

    None where the last one, too, takes whatever comes.
    """
    names = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            given = list(inspect.signature(base.__init__).parameters.values())[1:]
            names |= {p.name for p in given if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
            if not any(p.kind is p.VAR_KEYWORD for p in given):
                return names
    return None
