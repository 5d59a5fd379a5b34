"""Lines of text about the epochs of a training, for people who watch it."""

import time
from collections.abc import Callable

import keras

from keras_a2i.counts import counted
from keras_a2i.durations import format_seconds
from keras_a2i.training.run_folder import AUTO, PLAIN, XLA, RunConfig, RunFolder

_SECONDS_BETWEEN_LINES = 5.0


class EpochLines(keras.callbacks.Callback):
    """Describes a run in one line when its training begins, and epochs when they end.

    The first two epochs and the last have a line each; of those between them, one every five seconds.

    Args:
        folder: the run folder.
        tell: called with each line.

    Attributes:
        announced: whether the training has begun; a finished run that is resumed never does.
    """

    def __init__(self, folder: RunFolder, tell: Callable[[str], None]):
        super().__init__()
        self._folder, self._tell = folder, tell
        self._epoch_started = self._told_at = 0.0
        self._n_ended, self._first_ended = 0, 0.0
        self._untold = ""
        self.announced = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch_started = time.monotonic()
        if self.announced:
            return
        self.announced = True
        config = self._folder.read_config()
        where = f", resumed at epoch {epoch + 1}" if epoch else ""
        self._tell(
            f"recipe {config.recipe['name']}: {config.n_parameters:,} parameters, batch size {config.batch_size}, "
            f"{counted(config.epochs, 'epoch')}{where}{_describe_xla(config)}"
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.monotonic()
        epochs, seconds = self.params["epochs"], now - self._epoch_started
        self._n_ended += 1
        # The first epoch, which compiles, counts only while it is alone.
        if self._n_ended == 1:
            self._first_ended = now
        typical = seconds if self._n_ended == 1 else (now - self._first_ended) / (self._n_ended - 1)
        values = "  ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        left = format_seconds((epochs - epoch - 1) * typical)
        line = f"epoch {epoch + 1}/{epochs}  {seconds:.1f} s  {values}  ({left} left)"
        if self._n_ended > 2 and now - self._told_at < _SECONDS_BETWEEN_LINES:
            self._untold = line
            return
        self._told_at, self._untold = now, ""
        self._tell(line)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._untold:
            self._tell(self._untold)
            self._untold = ""


def _describe_xla(config: RunConfig) -> str:
    """What was measured where XLA is used only if it is faster, with a comma before it."""
    times = config.step_milliseconds
    if config.jit_compile != AUTO or not times:
        return ""
    if XLA not in times:
        return ", without XLA, which can't compile these steps"
    use = "with XLA" if config.uses_xla else "without XLA"
    return f", {use} ({times[PLAIN]:.3g} ms a step without, {times[XLA]:.3g} with it)"
