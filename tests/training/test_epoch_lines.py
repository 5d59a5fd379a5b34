"""Lines that tell how a training goes."""

import re
import types

import pytest

from keras_a2i.training import epoch_lines
from keras_a2i.training.epoch_lines import EpochLines
from keras_a2i.training.run_folder import RunConfig


class _Folder:
    def read_config(self):
        own = {"records": "records", "fingerprint": "", "monitor": "val_mse"}
        return RunConfig(recipe={"name": "paper"}, n_parameters=12_345, batch_size=64, epochs=40, **own)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(epoch_lines.time, "monotonic", lambda: clock.now)
    return clock


def _train(clock, seconds, epochs=None, first=0):
    """Trains from epoch `first` on for as many epochs as there are durations."""
    lines = []
    callback = EpochLines(_Folder(), lines.append)
    callback.set_params({"epochs": epochs or len(seconds)})
    for epoch, duration in enumerate(seconds, first):
        callback.on_epoch_begin(epoch)
        clock.now += duration
        callback.on_epoch_end(epoch, {"loss": 0.12345, "val_ssim": 0.5})
    callback.on_train_end()
    return lines


def _shown(lines):
    return [int(re.match(r"epoch (\d+)/40  ", line)[1]) for line in lines]


def test_short_epochs_have_a_line_every_five_seconds(clock):
    first, *lines = _train(clock, [10.0, *[1.0] * 39])
    assert first == "recipe paper: 12,345 parameters, batch size 64, 40 epochs"
    assert _shown(lines) == [1, 2, 7, 12, 17, 22, 27, 32, 37, 40]
    assert lines[0] == "epoch 1/40  10.0 s  loss 0.1235  val_ssim 0.5  (6 min 30 s left)"


def test_training_that_ends_early_or_is_resumed_shows_its_first_two_epochs_and_the_last(clock):
    _, *lines = _train(clock, [1.0] * 10, epochs=40)
    assert _shown(lines) == [1, 2, 7, 10]
    first, *lines = _train(clock, [1.0] * 4, epochs=40, first=20)
    assert first.endswith("40 epochs, resumed at epoch 21") and _shown(lines) == [21, 22, 24]


def test_time_that_is_left_is_by_the_epochs_after_the_first(clock):
    _, *lines = _train(clock, [60.0, 10.0, 20.0, 30.0, 20.0])
    assert [re.search(r"\((.*) left\)", line)[1] for line in lines] == ["4 min 00 s", "30 s", "30 s", "20 s", "0 s"]
