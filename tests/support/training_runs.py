"""Short trainings on records of tones, and what the tests of `fit` compare of their runs."""

import shutil

import keras
import numpy as np

from keras_a2i.training.fit import fit

SMALL = {"units": (16, 8), "base_channels": 8, "generator.channels": (8, 8)}


def train(records, out, **options):
    return fit(records, out, **({"recipe": "features", "settings": SMALL, "epochs": 4, "batch_size": 8} | options))


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
