"""What a training has written about itself."""

import json
from pathlib import Path


def read_epochs(folder: Path) -> list[dict]:
    """The metrics of each validation of a training, in order: `dict(epoch=..., name=value)`.

    Raises:
        ValueError: The training was never validated.
    """
    found = {}
    for path in sorted(folder.glob("*/vis_data/scalars.json")):  # one for each start
        for line in path.read_text().splitlines():
            record = json.loads(line)
            metrics = {name: value for name, value in record.items() if "/" in name}
            if metrics and "lr" not in record:
                found.setdefault(record["step"], dict(epoch=record["step"])).update(metrics)
    if not found:
        raise ValueError(f"no validation is recorded in {folder}: set train_cfg.val_interval")
    return [found[epoch] for epoch in sorted(found)]
