"""Callbacks of `fit`: held-out scores, history, sample sheets, the state to go on from."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_a2i.media.image import save_png
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.training.run_folder import RunFolder
from keras_a2i.training.val_scores import score_images

SECONDS_BETWEEN_SAVES = 30
SCORED_AT_ONCE = 32
Draw = Callable[[np.ndarray], np.ndarray]


class HeldOutScores(keras.callbacks.Callback):
    """Adds val_loss, val_ssim and val_histogram_similarity to the epoch's logs.

    Metrics run here and not on training batches, and on a sample of the held-out pairs, spread evenly: that keeps them
    below a quarter of the training time. `evaluate` scores all.

    Args:
        draw: inputs to pictures, by the weights as they are.
        inputs: of the sample, (n, ...).
        images: its pictures in [-1, 1].
        batch_size: the factor of the loss.
    """

    def __init__(self, draw: Draw, inputs: np.ndarray, images: np.ndarray, batch_size: int):
        super().__init__()
        self._draw, self._inputs, self._images, self._batch_size = draw, inputs, images, batch_size

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        at_once = min(SCORED_AT_ONCE, len(self._images))
        parts = [slice(i, i + at_once) for i in range(0, len(self._images), at_once)]
        scores = [score_images(self._images[part], self._draw(self._inputs[part]), at_once) for part in parts]
        mse, ssim, histogram = np.concatenate(scores, axis=1).mean(axis=1, dtype=np.float64).tolist()
        logs |= {"val_loss": self._batch_size * mse, "val_ssim": ssim, "val_histogram_similarity": histogram}


class History(keras.callbacks.Callback):
    """Keeps `history.csv` up to date: epoch, seconds, loss, held-out scores and learning rate.

    Args:
        folder: the run.
        rows: those of the epochs before.
    """

    def __init__(self, folder: RunFolder, rows: list[dict[str, float]]):
        super().__init__()
        self._folder, self.rows = folder, rows
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {"epoch": epoch + 1, "seconds": round(time.perf_counter() - self._start, 3)}
        row |= {name: float(value) for name, value in logs.items()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append(row)
        self._folder.write_history(self.rows)


class SampleSheets(keras.callbacks.Callback):
    """Draws a fixed set of pairs, real above generated, every few epochs and after the last.

    Args:
        folder: where `epoch_*.png` go.
        draw: inputs to pictures, by the weights as they are.
        inputs: model inputs (n, ...).
        images: real pictures (n, size, size, channels).
        every: epochs between sheets.
        epochs: the last epoch.
    """

    def __init__(self, folder: RunFolder, draw: Draw, inputs: np.ndarray, images: np.ndarray, every: int, epochs: int):
        super().__init__()
        self._folder, self._draw, self._inputs, self._images = folder, draw, inputs, images
        self._every, self._epochs = every, epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if (epoch + 1) % self._every == 0 or epoch + 1 == self._epochs:
            self.draw(epoch + 1)

    def draw(self, epoch: int) -> None:
        """Draws the sheet of the weights as they are now."""
        generated = self._draw(self._inputs)
        sheet = draw_sheet([self._images, generated], ["real", "generated"])
        save_png(sheet, self._folder.samples / f"epoch_{epoch:04d}.png")


class Checkpoint(keras.callbacks.Callback):
    """Keeps the state at the end of the last epoch, so that an interrupted training goes on as if it hadn't been.

    The state is written every 30 seconds at most, and by `save` when training ends or is interrupted.

    Args:
        folder: the run.
        epoch: epochs finished before.
        state_of: returns values of other callbacks to keep beside the model.
    """

    def __init__(self, folder: RunFolder, epoch: int, state_of: Callable[[], dict[str, Any]]):
        super().__init__()
        self._folder, self._state_of = folder, state_of
        self._snapshot: tuple[int, list[np.ndarray], dict[str, Any]] = (epoch, [], {})
        self._saved_at = time.monotonic()

    @property
    def epoch(self) -> int:
        """Epochs finished and kept."""
        return self._snapshot[0]

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.epoch:
            self._take(self.epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._take(epoch + 1)
        if time.monotonic() - self._saved_at >= SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Puts model and optimizer back to the end of the last whole epoch and writes them."""
        epoch, values, state = self._snapshot
        if not values:
            return
        assign_variables(self.model, values)
        self._folder.write_state({"epoch": epoch} | state, values)
        self._saved_at = time.monotonic()

    def _take(self, epoch: int) -> None:
        # One assignment: an interruption leaves the old snapshot or the new one, never a mixture.
        self._snapshot = epoch, [np.array(variable) for variable in all_variables(self.model)], self._state_of()


def all_variables(model: keras.Model) -> list[keras.Variable]:
    """Everything that training changes: weights, states of random numbers (no model file holds them), optimizer."""
    return [*model.variables, *model.optimizer.variables]


def assign_variables(model: keras.Model, values: list[np.ndarray]) -> None:
    """Puts the values of `all_variables` back."""
    for variable, value in zip(all_variables(model), values, strict=True):
        variable.assign(value)


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the best held-out loss and stops when it hasn't improved for a while.

    Args:
        folder: the run.
        patience: epochs without improvement before training stops, or None to never stop.
        best: the best held-out loss so far.
        best_epoch: the epoch it was reached, 0 for none.
    """

    def __init__(self, folder: RunFolder, patience: int | None, best: float = float("inf"), best_epoch: int = 0):
        super().__init__()
        self._folder, self._patience = folder, patience
        self.best, self.best_epoch = best, best_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs["val_loss"] < self.best:
            self.best, self.best_epoch = float(logs["val_loss"]), epoch + 1
            temporary = self._folder.state / "best.tmp.weights.h5"
            self.model.save_weights(temporary)
            temporary.replace(self._folder.state / "best.weights.h5")
        elif self._patience is not None and epoch + 1 - self.best_epoch >= self._patience:
            self.model.stop_training = True

    def restore(self) -> None:
        """Puts the best weights into the model."""
        self.model.load_weights(self._folder.state / "best.weights.h5")
