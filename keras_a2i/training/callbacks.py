"""Callbacks of `fit`: held-out scores, history, the state from which a run is resumed, best weights."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_a2i.errors import ModelError, UsageError
from keras_a2i.media.durable import written_whole
from keras_a2i.training.run_folder import HIGHER_IS_BETTER, SCORES, RunFolder
from keras_a2i.training.val_scores import score_images

SECONDS_BETWEEN_SAVES = 30
SCORED_AT_ONCE = 32
PredictFn = Callable[[Any], np.ndarray]


class HeldOutScores(keras.callbacks.Callback):
    """Adds held-out values to the epoch's logs: val_loss, those of objectives and metrics, val_mse, val_ssim and
    val_histogram_similarity.

    They are computed on an evenly spread sample of the held-out pairs, which limits their cost; `evaluate` scores all
    pairs. The random numbers of the training are not affected.

    Args:
        predict_fn: inputs to images, with the current weights.
        inputs: model inputs of the sample (n, ...), or a tuple of several.
        images: real images of the sample, float32 in [-1, 1].
        targets: what the model is fitted to: the images, or images and label numbers.
    """

    def __init__(self, predict_fn: PredictFn, inputs: Any, images: np.ndarray, targets: Any):
        super().__init__()
        self._predict_fn, self._inputs, self._images, self._targets = predict_fn, inputs, images, targets

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        at_once = min(SCORED_AT_ONCE, len(self._images))
        parts = [slice(i, i + at_once) for i in range(0, len(self._images), at_once)]
        scores = [
            score_images(self._images[part], self._predict_fn(_rows_of(self._inputs, part)), at_once) for part in parts
        ]
        means = np.concatenate(scores, axis=1).mean(axis=1, dtype=np.float64).tolist()
        values = self._losses(parts) | dict(zip(SCORES, means, strict=True))
        _values(logs).update({f"val_{name}": float(value) for name, value in values.items()})

    def _losses(self, parts: list[slice]) -> dict[str, float]:
        """The losses of the objectives; a `TrainingModel` validates without drawing random numbers."""
        self.model.reset_metrics()
        losses: dict[str, float] = {}
        for part in parts:
            inputs, targets = _rows_of(self._inputs, part), _rows_of(self._targets, part)
            losses = self.model.test_on_batch(inputs, targets, return_dict=True)
        self.model.reset_metrics()
        return losses


def _rows_of(arrays: Any, rows: slice) -> Any:
    """The rows of an array, or of every array of a structure."""
    return keras.tree.map_structure(lambda values: values[rows], arrays)


class History(keras.callbacks.Callback):
    """Keeps `history.csv` up to date: epoch, seconds, losses, held-out values and learning rate.

    Args:
        folder: the run folder.
        rows: those of the earlier epochs.
    """

    def __init__(self, folder: RunFolder, rows: list[dict[str, float]]):
        super().__init__()
        self._folder, self.rows = folder, rows
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row: dict[str, float] = {"epoch": epoch + 1, "seconds": round(time.perf_counter() - self._start, 3)}
        row |= {name: float(value) for name, value in _values(logs).items()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append(row)
        self._folder.write_history(self.rows)


class Checkpoint(keras.callbacks.Callback):
    """Keeps the state at the end of the last epoch, so that a resumed run equals an uninterrupted one.

    Keras' own `BackupAndRestore` stores neither the states of random numbers nor our best weights' value. The state is
    written every 30 seconds at most, and by `save` when training ends or is interrupted.

    Args:
        folder: the run folder.
        epoch: epochs finished before.
        state_of: returns values of other callbacks that are stored beside the model.
    """

    def __init__(self, folder: RunFolder, epoch: int, state_of: Callable[[], dict[str, Any]]):
        super().__init__()
        self.folder, self._state_of = folder, state_of
        self._snapshot: tuple[int, list[np.ndarray], dict[str, Any]] = (epoch, [], {})
        self._saved_at = time.monotonic()
        self._lock = threading.Lock()

    @property
    def epoch(self) -> int:
        """Number of epochs that are finished and stored."""
        return self._snapshot[0]

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.epoch:
            self._take(self.epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._take(epoch + 1)
        if time.monotonic() - self._saved_at >= SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Resets model and optimizer to the end of the last complete epoch and writes them."""
        epoch, values, state = self._snapshot
        if not values:
            return
        assign_variables(self.model, values)
        with self._lock:
            self.folder.write_state({"epoch": epoch} | state, values)
        self._saved_at = time.monotonic()

    def write(self) -> str:
        """Writes the state of the last complete epoch, from any thread; returns a sentence that says which, or ""."""
        epoch, values, state = self._snapshot
        if not values:
            return ""
        # The thread that holds it may hang, such as in an upload.
        if self._lock.acquire(timeout=SECONDS_BETWEEN_SAVES):
            try:
                self.folder.write_state({"epoch": epoch} | state, values)
            finally:
                self._lock.release()
        return f"Epoch {epoch} is saved in {self.folder.location}. Start all processes again, with --resume"

    def _take(self, epoch: int) -> None:
        # One assignment: an interruption leaves the old snapshot or the new one, never a mixture.
        self._snapshot = epoch, variable_values(self.model), self._state_of()


def _values(logs: dict[str, float] | None) -> dict[str, float]:
    """The logs of an epoch, which Keras always passes."""
    assert logs is not None
    return logs


def all_variables(model: keras.Model) -> list[keras.Variable]:
    """Returns everything that training changes: weights, states of random numbers, and the optimizer's variables.

    A model around a frozen one of gigabytes leaves that one out by an attribute `changing_variables`.
    """
    return [*getattr(model, "changing_variables", model.variables), *model.optimizer.variables]


def variable_values(model: keras.Model) -> list[np.ndarray]:
    """Copies the values of `all_variables`."""
    return [_value(variable) for variable in all_variables(model)]


def assign_variables(model: keras.Model, values: Sequence[np.ndarray]) -> None:
    """Restores the values of `all_variables`."""
    for variable, value in zip(all_variables(model), values, strict=True):
        variable.assign(value)


def _value(variable: keras.Variable) -> np.ndarray:
    return np.array(variable.numpy())


class BestWeights(keras.callbacks.Callback):
    """Stores the weights of the best value of a held-out score, and stops when it hasn't improved for a while.

    Args:
        folder: the run folder.
        monitor: name of the value in the logs; val_ssim and val_histogram_similarity are best at their highest, all
            others at their lowest.
        patience: epochs without improvement before training stops, or None to never stop.
        best: the best value so far, or None.
        best_epoch: the epoch of that value, 0 for none.
        is_highest: whether the highest value of a custom metric is the best; None for values of `fit` itself.
    """

    def __init__(
        self,
        folder: RunFolder,
        monitor: str,
        patience: int | None,
        best: float | None = None,
        best_epoch: int = 0,
        is_highest: bool | None = None,
    ):
        super().__init__()
        self._folder, self._monitor, self._patience = folder, monitor, patience
        self._sign = -1.0 if (monitor in HIGHER_IS_BETTER if is_highest is None else is_highest) else 1.0
        self.best, self.best_epoch = best, best_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = _values(logs)
        if self._monitor not in logs:
            raise UsageError(
                f"monitor must be one of {', '.join(name for name in logs if name.startswith('val_'))}. "
                f"Received: monitor={self._monitor!r}"
            )
        value = float(logs[self._monitor])
        if math.isfinite(value) and (self.best is None or self._sign * value < self._sign * self.best):
            self.best, self.best_epoch = value, epoch + 1
            path = self._folder.state / "best.weights.h5"
            with written_whole(path, temporary="best.tmp.weights.h5") as temporary:
                self.model.save_weights(temporary)
        elif self.is_over(epoch + 1):
            self.model.stop_training = True

    def is_over(self, epoch: int) -> bool:
        """Whether the training ends after that number of epochs for want of improvement."""
        return self._patience is not None and epoch - self.best_epoch >= self._patience

    def restore(self, model: keras.Model) -> None:
        """Loads the best weights into the model.

        Raises:
            ModelError: if they are damaged.
        """
        path = self._folder.state / "best.weights.h5"
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"The best weights of a run must be readable. Received: {path} ({error}). Start the run again with "
                "overwrite=True (--overwrite)"
            ) from error
