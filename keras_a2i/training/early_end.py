"""Trainings that end before their last epoch: interrupted, diverged or at a damaged record; and how they continue."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from keras_a2i.errors import CorruptRecordError, KerasA2IError, ModelError, TrainingInterrupted
from keras_a2i.records.records import Records
from keras_a2i.training.callbacks import Checkpoint, assign_variables
from keras_a2i.training.run_folder import RunFolder


def save_interrupted(
    checkpoint: Checkpoint, save_model: Callable[[], None], *, command: str, records: Records, epochs: int
) -> TrainingInterrupted:
    """Saves the last complete epoch of an interrupted training, if there is one; returns the error that says so.

    Args:
        checkpoint: holds the state at the end of that epoch.
        save_model: writes the model, whose weights are then those of that epoch.
        command: the command that resumes the run, such as "fit".
        records: what is trained on.
        epochs: of the whole training.
    """
    if checkpoint.epoch == 0:
        return TrainingInterrupted("Training stopped before the first epoch was finished; nothing is saved")
    checkpoint.save()
    save_model()
    backend = keras.backend.backend()
    prefix = "" if backend == "tensorflow" else f"KERAS_BACKEND={backend} "
    path = checkpoint.folder.location
    return TrainingInterrupted(
        f"Training stopped after epoch {checkpoint.epoch} of {epochs}, which is saved in {path}. Resume it with "
        f"resume=True, or with: {prefix}keras-a2i {command} {records.path} --out {path} --resume"
    )


def assign_state(model: keras.Model, values: Sequence[np.ndarray], folder: RunFolder) -> None:
    """Restores the weights and the optimizer of a compiled model from the state of a run.

    Raises:
        ModelError: if the state is that of another model.
    """
    model.optimizer.build(model.trainable_variables)
    try:
        assign_variables(model, values)
    except ValueError as error:
        raise ModelError(
            f"The state of a run must fit its model. Received: {folder.state}, which doesn't ({error}). "
            "Start the run again with overwrite=True (--overwrite)"
        ) from error


def check_finite(history: Sequence[Mapping[str, float]], advice: str) -> None:
    """Raises a KerasA2IError, which ends in the advice, if the loss of the last epoch isn't finite."""
    if history and not math.isfinite(history[-1]["loss"]):
        last = history[-1]
        raise KerasA2IError(f"The loss must stay finite. Received: {last['loss']} in epoch {last['epoch']:g}. {advice}")


@contextlib.contextmanager
def records_read() -> Iterator[None]:
    """Raises a CorruptRecordError where TensorFlow's data set failed to read a record, in place of its traceback."""
    try:
        yield
    except Exception as error:
        own = re.search(r"\b(?:CorruptRecordError|RecordsError): (.+)", str(error))
        if own is not None and not isinstance(error, KerasA2IError):
            raise CorruptRecordError(own[1]) from error
        if type(error).__module__.startswith("tensorflow") and re.search(
            r"ParseExample|DecodeImage|DecodeRaw", str(error)
        ):
            raise CorruptRecordError(
                "Every record must hold a pair of the features and images that the manifest states. Received: another "
                "one. Build the records again, with overwrite=True (--overwrite)"
            ) from error
        raise
