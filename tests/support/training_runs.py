"""Short trainings on records of tones, and what the tests of `fit` compare of their runs."""

import contextlib
import importlib.machinery
import shutil

import keras
import numpy as np
import pytest

from keras_a2i.training.fit import fit

SMALL = {"units": (16, 8), "base_channels": 8, "generator.channels": (8,)}


def train(records, out, **options):
    return fit(records, out, **({"recipe": "features", "settings": SMALL, "epochs": 4, "batch_size": 8} | options))


@contextlib.contextmanager
def tensorboard_logs():
    """Trainings log for TensorBoard where it is installed, which the fixture `without_tensorboard` prevents."""
    is_installed = importlib.machinery.PathFinder.find_spec("tensorboard") is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_a2i.training.trainer._logs_tensorboard", lambda: is_installed)
        yield


def weights(model):
    return [np.array(variable) for variable in model.variables]


def assert_same(a, b):
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)


class CopyRun(keras.callbacks.Callback):
    """Copies a run folder when an epoch begins, as a process that is killed then leaves it.

    Its state is that of the epoch before where `SECONDS_BETWEEN_SAVES` is 0.
    """

    def __init__(self, run, copy, epoch):
        super().__init__()
        self.run, self.copy, self.epoch = run, copy, epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            shutil.copytree(self.run, self.copy)
