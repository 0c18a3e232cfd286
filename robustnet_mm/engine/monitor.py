"""A hook that shows what a weave learns while it is trained."""

import json
from pathlib import Path

import numpy as np
from mmengine.fileio import dump
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop

from robustnet_mm.models.probe import ExchangeProbe, channel_strengths, layer_of
from robustnet_mm.registry import HOOKS

BINS = 40
SIDES = ("squeeze", "expand")
QUANTITIES = dict(
    share="share of what it adds to",
    strength="mean strength of a channel",
    weight="norm of weights",
)


@HOOKS.register_module()
class WeaveMonitorHook(Hook):
    """Each head's accuracy, and every exchange's weights and contribution, epoch by epoch.

    The paper's figures 8 and 9. At each validation it gives the visualizer's backends, TensorBoard
    among them if the config names it, the scalars `weave/<exchange>_<squeeze|expand>_<what>`:
    `share`, the norm of what is added over that of what it is added to, on the first validation
    batch of this process; `strength`, the mean over the channels of `channel_strengths`; `weight`,
    the Frobenius norm of the linear layer. Into `<work_dir>/weave/` go history.json, accuracy.png,
    exchanges.png and the histograms of strengths and weights.

        custom_hooks = [*_base_.custom_hooks, dict(type='robustnet_mm.WeaveMonitorHook')]
        vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
        visualizer = dict(vis_backends=vis_backends)

    Raises:
        ValueError: The backbone has no exchanges.
    """

    priority = "LOW"  # after the evaluation has been logged

    def __init__(self):
        self.history, self._probe, self._record = [], None, {}

    def before_run(self, runner):
        """Before training, validation and test alike."""
        self._folder = Path(runner.work_dir) / "weave"

    def before_train(self, runner):
        """Go on with the history of a resumed training."""
        kept = self._folder / "history.json"
        if kept.is_file():
            found = json.loads(kept.read_text())
            self.history = [record for record in found if record["epoch"] <= _when(runner)]
        ExchangeProbe(_model(runner))  # refuses a network without exchanges before it is trained

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        """Measure the first batch."""
        if batch_idx == 0:
            self._probe = ExchangeProbe(_model(runner)).__enter__()

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Keep what was measured, and take the probe away."""
        if batch_idx == 0:
            self._probe.__exit__(None, None, None)
            self._record = _measured(_model(runner), self._probe.exchanges)

    def after_val_epoch(self, runner, metrics=None):
        """Tell the backends, and write history and pictures."""
        exchanges, epoch = self._record, _when(runner)
        scalars = {
            f"weave/{name}_{what}": values[what]
            for name, values in exchanges.items()
            for what in QUANTITIES
            if what in values
        }
        runner.visualizer.add_scalars(scalars, step=epoch)
        self.history = [record for record in self.history if record["epoch"] != epoch]
        self.history.append(dict(epoch=epoch, metrics=dict(metrics or {}), exchanges=exchanges))
        if runner.rank == 0:
            for backend in runner.visualizer._vis_backends.values():
                if type(backend).__name__ == "TensorboardVisBackend":
                    _add_histograms(backend.experiment, _model(runner), epoch)
            self._folder.mkdir(parents=True, exist_ok=True)
            dump(self.history, self._folder / "history.json", backend_args=dict(backend="whole"))
            draw(self.history, self._folder)


def _when(runner) -> int:
    """The epoch, or the iteration of a training that is counted in iterations."""
    counted = isinstance(getattr(runner, "_train_loop", None), IterBasedTrainLoop)
    return runner.iter if counted else runner.epoch


def _model(runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _parts(model) -> dict[str, dict[str, np.ndarray]]:
    """'0_squeeze' -> its channels' strengths (none if ungated) and its linear layer's weights."""
    strengths, found = channel_strengths(model), {}
    for k, fiu in enumerate(model.backbone.fius):
        for side in SIDES:
            unit = getattr(fiu, side)
            if unit is not None:
                weight = layer_of(unit).weight.detach().float().cpu().numpy().ravel()
                found[f"{k}_{side}"] = dict(weight=weight)
                if f"exchange {k} {side}" in strengths:
                    found[f"{k}_{side}"]["strength"] = strengths[f"exchange {k} {side}"]
    return found


def _add_histograms(writer, model, epoch: int):
    for name, arrays in _parts(model).items():
        for what, values in arrays.items():
            writer.add_histogram(f"weave/{name}_{what}", values, epoch)


def _measured(model, exchanges: list) -> dict[str, dict]:
    """'0_squeeze' -> share, norms and histograms, as numbers that JSON takes."""
    found = {}
    for name, arrays in _parts(model).items():
        k, side = name.split("_")
        values = dict(share=float(getattr(exchanges[int(k)], side).share.mean()))
        values["weight"] = float(np.linalg.norm(arrays["weight"]))
        if "strength" in arrays:
            values["strength"] = float(arrays["strength"].mean())
        for what, array in arrays.items():
            counts, edges = np.histogram(array, BINS)
            values[f"{what}_histogram"] = [counts.tolist(), edges.tolist()]
        found[name] = values
    return found


def draw(history: list[dict], folder: Path):
    """accuracy.png (or the detector's metrics), exchanges.png, histograms of both quantities."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    epochs = [record["epoch"] for record in history]
    names = [n for n in history[-1]["metrics"] if "top1" in n or n.endswith("_mAP")]
    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name in names:
        axis.plot(epochs, [r["metrics"].get(name) for r in history], marker="o", label=name)
    _by_epoch(axis)
    axis.legend()
    _save(figure, folder / "accuracy.png")

    whats = [what for what in QUANTITIES if what in _any(history[-1])]
    size = dict(figsize=(11, 3.2 * len(whats) + 0.4), layout="constrained")
    figure, axes = pyplot.subplots(len(whats), 2, squeeze=False, **size)
    lines = {}  # one legend for all panels
    for row, what in zip(axes, whats, strict=True):
        for axis, side in zip(row, SIDES, strict=True):
            chosen = [n for n in history[-1]["exchanges"] if n.endswith(side)]
            for name, colour in zip(chosen, _colours(len(chosen)), strict=True):
                values = [r["exchanges"][name][what] for r in history]
                line = axis.plot(epochs, values, color=colour, marker=".")
                lines[f"exchange {name.split('_')[0]}"] = line[0]
            axis.set_title(f"{side}: {QUANTITIES[what]}", fontsize=10)
            _by_epoch(axis)
    figure.legend(lines.values(), lines, loc="outside upper center", ncols=8, fontsize=8)
    _save(figure, folder / "exchanges.png")
    for what in ("strength", "weight"):
        if what in whats:
            _draw_histograms(history, what, folder / f"{what}_histograms.png")


def _draw_histograms(history: list[dict], what: str, path: Path):
    """A panel for each squeeze and expand; a line for each epoch, from dark to bright."""
    from matplotlib import pyplot

    names = list(history[-1]["exchanges"])
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.2 * columns, 2.4 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        for record, colour in zip(history, _colours(len(history)), strict=True):
            counts, edges = record["exchanges"][name][f"{what}_histogram"]
            axis.stairs(counts, edges, color=colour, label=f"epoch {record['epoch']}")
        axis.set_title(f"{name.replace('_', ' ')}: {what}", fontsize=9)
        axis.tick_params(labelsize=7)
        axis.xaxis.get_major_locator().set_params(nbins=4)
    if len(history) <= 8:
        axes.flat[0].legend(fontsize=6)
    _save(figure, path)


def _any(record: dict) -> dict:
    return next(iter(record["exchanges"].values()))


def _by_epoch(axis):
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.grid(alpha=0.3)


def _colours(count: int):
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0, 0.9, count))


def _save(figure, path: Path):
    from matplotlib import pyplot

    figure.savefig(path, dpi=100)
    pyplot.close(figure)
