"""The thread that ends a training without progress, and interruptions that Keras would lose."""

import os
import signal
import time

import keras
import numpy as np
import pytest

from keras_a2i.training.interruption import Interruption
from keras_a2i.training.watchdog import FIRST_STEP_FACTOR, Watchdog


def test_watchdog_calls_its_function_once_where_no_step_ends():
    said = []
    watchdog = Watchdog(0.05, said.append)
    with watchdog.watching():
        watchdog.on_train_batch_end(0)
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
    assert said == ["no step ended within 0.05 seconds: another process hangs or was lost"]


@pytest.mark.training
def test_steps_are_progress_and_the_first_one_may_take_longer():
    said = []
    watchdog = Watchdog(0.5, said.append)
    with watchdog.watching():
        assert watchdog._allowed == 0.5 * FIRST_STEP_FACTOR
        for _ in range(8):
            time.sleep(0.1)
            watchdog.on_train_batch_end(0)
        assert watchdog._allowed == 0.5
    time.sleep(0.6)
    assert said == []


@pytest.fixture
def handler():
    """Python's own handler of Ctrl-C, which the processes of pytest-xdist ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.training
def test_an_interruption_that_keras_catches_is_raised_again(monkeypatch, handler):
    from keras.src import backend

    convert = backend.convert_to_numpy

    def interrupt(value):
        os.kill(os.getpid(), signal.SIGINT)
        return convert(value)

    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.zeros((4, 2), np.float32)
    model.fit(x, x[:, :1], verbose=0)
    seen = []
    after = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs))
    # Where Keras converts the logs of a step it catches every exception, so that the training would go on.
    monkeypatch.setattr(backend, "convert_to_numpy", interrupt)
    model.fit(x, x[:, :1], verbose=0, callbacks=[after])
    assert seen
    interruption = Interruption()
    with pytest.raises(KeyboardInterrupt), interruption.noted():
        model.fit(x, x[:, :1], verbose=0, callbacks=[interruption])
    assert signal.getsignal(signal.SIGINT) is handler
