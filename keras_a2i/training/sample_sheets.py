"""Sample sheets of a run: a fixed set of held-out pairs, real beside generated, after every few epochs."""

import math
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_a2i.media.image import save_png
from keras_a2i.media.sheet import draw_sheet
from keras_a2i.training.callbacks import PredictFn
from keras_a2i.training.run_folder import RunFolder

MAX_SHEETS = 20
N_SAMPLES = 8
"""Pairs on a sheet."""


def epochs_between_sheets(epochs: int) -> int:
    """Returns the number of epochs after which a training of `epochs` writes the next sheet."""
    return max(1, math.ceil(epochs / MAX_SHEETS))


class Sheets(keras.callbacks.Callback):
    """Writes `samples/epoch_*.png` every few epochs and after the last; a base class.

    Args:
        folder: the run folder.
        epochs: the last epoch.
    """

    def __init__(self, folder: RunFolder, epochs: int):
        super().__init__()
        self._folder, self._epochs, self._every = folder, epochs, epochs_between_sheets(epochs)

    def draw(self) -> Image.Image:
        """Returns the sheet of the current weights."""
        raise NotImplementedError

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if (epoch + 1) % self._every == 0 or epoch + 1 == self._epochs:
            self.write(epoch + 1)

    def write(self, epoch: int) -> Image.Image:
        """Writes the sheet of the current weights, which are those of an epoch, counted from 1; returns it."""
        sheet = self.draw()
        save_png(sheet, self._folder.samples / _name(epoch))
        return sheet

    def complete(self, epoch: int, *, is_interrupted: bool = False) -> None:
        """Writes the sheet of the current weights where a training has ended before one was due.

        Args:
            epoch: the epoch of these weights; 0 before the first, which has no sheet.
            is_interrupted: whether the training is to be continued: then a sheet of any epoch is enough.
        """
        pattern = "epoch_*.png" if is_interrupted else _name(epoch)
        if epoch and not any(self._folder.samples.glob(pattern)):
            self.write(epoch)


class SampleSheets(Sheets):
    """Sheets of pairs, real above generated.

    Args:
        folder: the run folder.
        predict_fn: inputs to images, with the current weights.
        inputs: model inputs (n, ...), or a tuple of several.
        images: real images (n, size, size, channels).
        epochs: the last epoch.
        references: reference images (n, size, size, channels), shown above; None for none.
        logs_tensorboard: whether the sheets are written for TensorBoard, too.
    """

    def __init__(
        self,
        folder: RunFolder,
        predict_fn: PredictFn,
        inputs: Any,
        images: np.ndarray,
        epochs: int,
        *,
        references: np.ndarray | None = None,
        logs_tensorboard: bool = False,
    ):
        super().__init__(folder, epochs)
        self._predict_fn, self._inputs, self._logs_tensorboard = predict_fn, inputs, logs_tensorboard
        self._summaries: Any = None
        self._shown = {"real": images} if references is None else {"reference": references, "real": images}

    def draw(self) -> Image.Image:
        """Returns the sheet of the current weights."""
        generated = self._predict_fn(self._inputs)
        return draw_sheet([*self._shown.values(), generated], [*self._shown, "generated"])

    def write(self, epoch: int, *, is_kept: bool = False) -> Image.Image:
        """Writes the sheet of the current weights; returns it.

        Args:
            epoch: the epoch of these weights, counted from 1.
            is_kept: whether they are those of the finished model, whose images TensorBoard shows apart: it has others
                of the same epoch.
        """
        sheet = super().write(epoch)
        if self._logs_tensorboard:
            self._write_summary("kept: real above generated" if is_kept else "real above generated", sheet, epoch)
        return sheet

    def _write_summary(self, title: str, sheet: Image.Image, epoch: int) -> None:
        import tensorflow as tf

        if self._summaries is None:
            self._summaries = tf.summary.create_file_writer(str(self._folder.tensorboard / "samples"))
        # Keras' own callback counts epochs from 0.
        with self._summaries.as_default(step=epoch - 1):
            tf.summary.image(title, np.asarray(sheet)[None])
        self._summaries.flush()


def _name(epoch: int) -> str:
    return f"epoch_{epoch:04d}.png"
