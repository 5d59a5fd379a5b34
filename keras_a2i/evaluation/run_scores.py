"""The scores of one run: what its training reported of held-out pairs, and what its evaluation found."""

import math
import pathlib

from keras_a2i.evaluation.replicates import Value
from keras_a2i.training.run_folder import HIGHER_IS_BETTER, SCORES, RunFolder


def training_scores(path: str | pathlib.Path) -> dict[str, Value]:
    """The held-out scores of a run's history, by the names of its columns: the monitored one first.

    They are those of the last epoch, or of the best one where its weights are kept, and of the sample of held-out pairs
    that `fit` scores. Where the recipe averages weights, the history is of those before averaging; where it subtracts
    hubness, of images without it.

    Args:
        path: the run folder.

    Raises:
        ModelError: if it is none, or is damaged.
    """
    run = RunFolder(path)
    config, rows = run.read_config(), run.read_history()
    if not rows:
        return {}
    monitor, row = config.monitor, rows[-1]
    better = {name: better_of(name) for name in row}
    if config.highest_is_best is not None:
        better[monitor] = "higher" if config.highest_is_best else "lower"
    finite = [each for each in rows if math.isfinite(each.get(monitor, math.nan))]
    if config.restore_best_weights and finite:
        row = min(finite, key=lambda each: (-1 if better[monitor] == "higher" else 1) * each[monitor])
    names = [monitor, *(f"val_{score}" for score in SCORES), *(name for name in row if name.startswith("val_"))]
    return {name: Value(name, better[name], row[name]) for name in dict.fromkeys(names) if name in row}


def better_of(name: str) -> str:
    """Which values of a column of the history are better: "higher" or "lower"."""
    return "higher" if name in HIGHER_IS_BETTER else "lower"
