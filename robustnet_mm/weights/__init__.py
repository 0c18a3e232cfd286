"""Published weights into modules: files -> sources -> spec -> convert -> load, each one file."""

from .convert import convert
from .files import find_state_dict, read_checkpoint
from .load import LoadReport, load_into
from .pretrained import LoadableModule, PretrainedTower, carry_out_init_cfg
from .spec import Loadable, Source, WeightsSpec

__all__ = [
    "LoadReport",
    "Loadable",
    "LoadableModule",
    "PretrainedTower",
    "Source",
    "WeightsSpec",
    "carry_out_init_cfg",
    "convert",
    "find_state_dict",
    "load_into",
    "read_checkpoint",
]
