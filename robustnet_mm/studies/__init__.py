"""Studies: a grid of trainings with several seeds, compared pair by pair.

Read in this order: `grid` (what is trained), `run` (training it and collecting what it gave),
`compare` (paired differences, joined predictions), `precision` (of detections), `report`.
"""

from .compare import compare, heads_of, join, right_images, score_of_draws
from .grid import cells_of, check_cells, config_of, read_study
from .report import heads_markdown, markdown
from .run import collect, run_cell, train_all, value_of

__all__ = [
    "cells_of",
    "check_cells",
    "collect",
    "compare",
    "config_of",
    "heads_markdown",
    "heads_of",
    "join",
    "markdown",
    "read_study",
    "right_images",
    "run_cell",
    "score_of_draws",
    "train_all",
    "value_of",
]
