"""State dict -> state dict: from a file's names to those of the module that takes it.

The source of a file is recognised by its keys and its keys are renamed by a literal table; every
key is accounted for.
"""

import re

from torch import cat
from torch.nn.modules.batchnorm import _BatchNorm

from robustnet_mm.weights.files import some
from robustnet_mm.weights.sources import SOURCES
from robustnet_mm.weights.spec import OWN_PREFIXES, Loadable, Rows, Source, StateDict

OWN_SOURCE = "this package"
# networks that no table covers, by a key of theirs
_FOREIGN = (
    (r"visual\.(conv1|trunk|transformer).*", "CLIP as OpenAI or OpenCLIP keep it"),
    (r"(backbone\.)?(layers|stages)\.\d\.blocks\.\d\.attn\.(w_msa\.)?qkv\.weight", "a Swin"),
    (r"features\.denseblock1.*", "a DenseNet"),
    (r"features\.0\.bias", "a VGG or AlexNet"),
)


def has_folded_norms(weights: StateDict) -> bool:
    """Whether all BatchNorm statistics are 0 and 1 (or 1 - eps), as in a CNN made for inference."""
    means = [value for key, value in weights.items() if key.endswith("running_mean")]
    variances = [value for key, value in weights.items() if key.endswith("running_var")]
    untouched = all(((v - 1).abs() < 2e-3).all() for v in variances)
    return bool(means) and untouched and not any(mean.any() for mean in means)


def find_source(weights: StateDict) -> Source | None:
    """The first source whose key is there."""
    for source in SOURCES:
        if any(re.fullmatch(source.tell, key) for key in weights):
            return source
    return None


def rename(weights: StateDict, rows: Rows) -> tuple[StateDict, list[str]]:
    """Apply every row that matches, in order; what a row maps to None is left out, and named.

    'key#0', 'key#1', 'key#2' become one 'key', concatenated: query, key and value.
    """
    renamed, unused = {}, []
    for key, value in weights.items():
        name = key
        for pattern, target in rows:
            if match := re.fullmatch(pattern, name):
                name = match.expand(target) if target is not None else None
                if name is None:
                    unused.append(key)
                    break
        if name is not None:
            renamed[name] = value
    for part in sorted(name for name in renamed if "#" in name):
        name, value = part.partition("#")[0], renamed.pop(part)
        renamed[name] = cat([renamed[name], value]) if name in renamed else value
    return renamed, unused


def to_published_names(weights: StateDict) -> tuple[StateDict, list[str], Source | None]:
    """A file's weights under timm's names (or the Conformer authors'), unused keys, the source."""
    source = find_source(weights)
    if source is None:
        return weights, [], None
    weights, unused = rename(weights, source.rename)
    return (source.finish(weights) if source.finish else weights), unused, source


def convert(weights: StateDict, module: Loadable) -> tuple[StateDict, list[str], str]:
    """A file's weights under the module's own names.

    Args:
        weights: State dict of a published network, or of a classifier or detector of this package.
        module: A tower, one of its classifiers, or `RobustNet`.

    Returns:
        Renamed weights, keys that belong to other parts, and the source's name.

    Raises:
        ValueError: The source is not recognised, is another kind of network, or has norms that
            differ from the module's.
    """
    spec = module.weights_spec
    if any(key.startswith(("backbone.cnn.", "backbone.vit.")) for key in weights):
        return (*under_prefix(weights, OWN_PREFIXES[spec.kind]), OWN_SOURCE)
    if spec.kind == "network":
        return weights, [], OWN_SOURCE
    named, unused, source = to_published_names(weights)
    if source is None or source.layout not in spec.layouts:
        own, elsewhere, _ = _place(weights, spec.keys)
        needed = {k for k in module.state_dict() if not k.endswith("num_batches_tracked")}
        if spec.model_name and own.keys() >= needed:
            return own, elsewhere, "timm"
        _refuse(weights, source, module)
    eps = {part.eps for part in module.modules() if isinstance(part, _BatchNorm)}
    if source.norm_eps and eps and eps != {source.norm_eps}:
        raise ValueError(
            f"{source.name} was trained with norms of eps {source.norm_eps}, this "
            f"{type(module).__name__} has {eps.pop()}: add "
            f"model_args=dict(bn_eps={source.norm_eps}) to it"
        )
    own, elsewhere, strange = _place(named, spec.keys)
    if strange:
        raise ValueError(
            f"{len(strange)} keys are not those of a {source.layout} for {type(module).__name__}: "
            f"{some(strange)}; the file ({source.name}) is of another architecture, or pools in "
            "another way: nothing was loaded"
        )
    return own, unused + elsewhere, source.name


def _place(weights: StateDict, rows: Rows) -> tuple[StateDict, list[str], list[str]]:
    """The module's own keys by the first row that matches, keys of other parts, strange keys."""
    own, elsewhere, strange = {}, [], []
    for key, value in weights.items():
        matches = ((re.fullmatch(pattern, key), target) for pattern, target in rows)
        match, target = next((pair for pair in matches if pair[0]), (None, None))
        if match and target:
            own[match.expand(target)] = value
        else:
            (elsewhere if match else strange).append(key)
    return own, elsewhere, strange


def under_prefix(weights: StateDict, prefix: str) -> tuple[StateDict, list[str]]:
    """What stands under a prefix, without it, and the other keys.

    Raises:
        ValueError: Nothing stands there.
    """
    chosen = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    if not chosen:
        present = sorted({key.split(".")[0] + "." for key in weights})
        raise ValueError(
            f"the file has no keys under prefix {prefix!r}; it has {', '.join(present)}"
        )
    return chosen, [key for key in weights if not key.startswith(prefix)]


def _refuse(weights: StateDict, source: Source | None, module: Loadable):
    layouts = module.weights_spec.layouts
    takes = f"{type(module).__name__} takes the weights of a {' or '.join(layouts)}"
    if source:
        raise ValueError(
            f"the file is a {source.layout} ({source.name}), {takes}: nothing was loaded. "
            "Name the file of that network, or another tower"
        )
    likely = [what for tell, what in _FOREIGN if any(re.fullmatch(tell, key) for key in weights)]
    hint = f"It looks like {likely[0]}. " if likely else ""
    known = ", ".join(dict.fromkeys(s.name for s in SOURCES if s.layout in layouts))
    raise ValueError(
        f"the source of the file is not recognised, {takes}: its keys are {some(weights)}. {hint}"
        f"Known: {known}. For a part of another network give prefix="
    )
