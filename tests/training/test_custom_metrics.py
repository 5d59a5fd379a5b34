"""Custom Keras metrics of `fit`: their columns, monitoring, resuming, errors."""

import keras
import numpy as np
import pytest
from support.training_runs import assert_same, train

import keras_a2i as a2i
from keras_a2i.errors import TrainingInterrupted, UsageError
from keras_a2i.evaluation.run_scores import training_scores
from keras_a2i.records.records import Records
from keras_a2i.training.custom_metrics import higher_is_better
from keras_a2i.training.fit import fit
from keras_a2i.training.run_folder import RunFolder

pytestmark = pytest.mark.training


def brightness(real, generated):
    return keras.ops.mean(generated, axis=[1, 2, 3])


def make_metrics():
    mean = keras.metrics.MeanMetricWrapper(brightness, name="brightness")
    mean._direction = "up"
    return [keras.metrics.MeanAbsoluteError(name="mae"), mean, a2i.metrics.Sharpness()]


class StopAfterTwo(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_custom_metrics_are_columns_and_a_resumed_run_equals_one_without_them(whole, records, tmp_path):
    run, seen = tmp_path / "run", []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["val_mae"]))
    options = {"metrics": make_metrics(), "monitor": "val_brightness"}
    with pytest.raises(TrainingInterrupted):
        train(records, run, **options, callbacks=[note, StopAfterTwo()])
    with pytest.raises(
        UsageError, match=r"with which it began, \['brightness', 'mae', 'sharpness'\]. Received: \['mae"
    ):
        fit(records, run, resume=True, metrics=[keras.metrics.MeanAbsoluteError(name="mae")], monitor="val_mse")
    model = fit(records, run, resume=True, metrics=make_metrics(), callbacks=[note], verbose=0)
    # Metrics change nothing of the training.
    assert_same(model, whole.model)
    rows = RunFolder(run).read_history()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4] and seen == [row["val_mae"] for row in rows]
    val = Records(records).decoded("val")
    real, generated = val.images / np.float32(127.5) - 1, model.predict(val.inputs, verbose=0)
    assert rows[-1]["val_mae"] == pytest.approx(np.abs(real - generated).mean(), rel=1e-4)
    assert rows[-1]["val_brightness"] == pytest.approx(generated.mean(), rel=1e-4)
    sharpness = np.mean(a2i.metrics.sharpness(real, generated))
    assert rows[-1]["val_sharpness"] == pytest.approx(sharpness, rel=1e-3)
    assert {"mae", "brightness", "sharpness"} <= rows[0].keys()


def test_best_weights_of_a_custom_metric_are_those_of_its_best_direction(records, tmp_path):
    class Given(keras.metrics.Metric):
        """The mean of the last batch."""

        def __init__(self, direction):
            super().__init__(name="given")
            self._direction = direction
            self.mean = self.add_weight(shape=(), initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.mean.assign(keras.ops.mean(y_pred))

        def result(self):
            return self.mean + 0.0

    for direction, best in (("up", max), ("down", min)):
        run = tmp_path / direction
        train(records, run, metrics=[Given(direction)], monitor="val_given", restore_best_weights=True)
        values = [row["val_given"] for row in RunFolder(run).read_history()]
        assert len(set(values)) == 4
        value = training_scores(run)["val_given"]
        assert value.value == best(values)
        assert value.better == {"up": "higher", "down": "lower"}[direction]


@pytest.mark.parametrize("metric", ["mae", brightness])
def test_metrics_that_are_none_are_refused(records, tmp_path, metric):
    with pytest.raises(UsageError, match=r"Each of metrics must be a keras.metrics.Metric. Received: .*MeanMetricWrap"):
        train(records, tmp_path / "run", metrics=[metric])
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("metrics", "options", "message"),
    [
        ([a2i.metrics.SSIM()], {}, r"The names of metrics must differ from each other and .*Received: 'ssim'"),
        ([keras.metrics.Mean("loss")], {}, "The names of metrics must differ .*Received: 'loss'"),
        (make_metrics()[:1] * 2, {}, "The names of metrics must differ .*Received: 'mae'"),
        ([a2i.metrics.Sharpness()], {"monitor": "val_sharpness"}, "of which the highest or the lowest is the best"),
        ([keras.metrics.Mean("mine")], {"monitor": "val_mine"}, "Set its attribute _direction to 'up' or 'down'"),
        (make_metrics(), {"monitor": "val_brightnes"}, "Did you mean 'val_brightness'"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(records, tmp_path, metrics, options, message):
    with pytest.raises(UsageError, match=message):
        train(records, tmp_path / "run", metrics=metrics, **options)
    assert not (tmp_path / "run" / "config.json").exists()


def test_metrics_of_several_devices_are_refused(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.fit.current_group", lambda: object())
    with pytest.raises(UsageError, match=r"metrics must be left out with devices='all', .* Received: 3 of them"):
        train(records, tmp_path / "run", metrics=make_metrics(), devices="all")


def test_direction_of_library_and_keras_metrics():
    assert higher_is_better(a2i.metrics.PSNR()) is True and higher_is_better(a2i.metrics.ScaledMSE()) is False
    assert higher_is_better(keras.metrics.CosineSimilarity()) is True and higher_is_better(make_metrics()[0]) is False
    assert higher_is_better(a2i.metrics.Sharpness()) is None and higher_is_better(keras.metrics.Mean()) is None
