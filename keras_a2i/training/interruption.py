"""Interruptions of a training, by Ctrl-C or SIGTERM, that Keras would lose."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator

import keras


class Interruption(keras.callbacks.Callback):
    """Raises the KeyboardInterrupt of a signal again where it was lost on its way.

    Keras catches every exception while it converts the losses of a step, which is when JAX waits for the device: there,
    nearly every interruption comes in that moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_received = False

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Notes the signals that arrive during a block; the handlers that are set still run."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        in_python = {int(number): handler for number, handler in handlers.items() if callable(handler)}
        if threading.current_thread() is not threading.main_thread():
            in_python = {}

        def note(number: int, frame: types.FrameType | None) -> None:
            try:
                in_python[number](number, frame)
            except KeyboardInterrupt:
                self._is_received = True
                raise

        for number in in_python:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in in_python.items():
                signal.signal(number, handler)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.check()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.check()

    def check(self) -> None:
        """Raises the KeyboardInterrupt of a signal that was noted."""
        if self._is_received:
            raise KeyboardInterrupt
