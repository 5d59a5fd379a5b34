"""A training whose batches have as many pairs of every part, in one process; and what several processes check first."""

import keras
import numpy as np
import pytest
from support.processes import run_python
from support.training_runs import CopyRun, assert_same, train

from keras_a2i.errors import UsageError
from keras_a2i.objectives import MeanSquaredError, TemporalDifference, TrainingModel
from keras_a2i.recipes import get_recipe
from keras_a2i.records.parts import Part
from keras_a2i.records.records import Records
from keras_a2i.training.fit import fit
from keras_a2i.training.networks import Epoch, training_data
from keras_a2i.training.process_group import ProcessGroup, join_processes
from keras_a2i.training.run_folder import RunConfig, RunFolder
from keras_a2i.training.shared_fit import check_parts


@pytest.fixture(scope="module")
def setup(records):
    opened = Records(records)
    recipe = get_recipe("features", units=(8,), base_channels=4, **{"generator.channels": (4,)})
    model = recipe.build(opened.features, image_size=16, channels=3)
    training_model = TrainingModel(model, [MeanSquaredError()])

    def batches(epoch, parts, n_parts=2, batch_size=8):
        config = RunConfig(
            recipe=recipe.to_dict(),
            records="",
            fingerprint="",
            epochs=3,
            batch_size=batch_size,
            monitor="val_loss",
            data_parts=n_parts,
        )
        data = training_data(training_model, recipe, config, opened, Epoch(epoch), "auto", parts)
        assert int(data.cardinality()) == max(1, opened.counts["train"] // batch_size)
        return [inputs for inputs, _ in data.as_numpy_iterator()]

    return opened, batches


def test_every_batch_has_as_many_pairs_of_each_part(setup):
    records, batches = setup
    own = [
        {tuple(row) for row, _ in records.dataset("train", 1, part=Part(i, 2)).unbatch().as_numpy_iterator()}
        for i in range(2)
    ]
    found = batches(0, range(2))
    for inputs in found:
        assert [tuple(row) in own[0] for row in inputs] == 4 * [True] + 4 * [False]
        assert [tuple(row) in own[1] for row in inputs] == 4 * [False] + 4 * [True]
    # One process of two reads its half of the same batches.
    for inputs, first, second in zip(found, batches(0, range(1)), batches(0, range(1, 2)), strict=True):
        np.testing.assert_array_equal(inputs, np.concatenate([first, second]))


def test_the_order_depends_on_the_epoch_alone(setup):
    _, batches = setup
    np.testing.assert_array_equal(batches(1, range(2)), batches(1, range(2)))
    assert not np.array_equal(batches(1, range(2)), batches(0, range(2)))


@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_a_training_in_parts_is_resumed_as_it_was(records, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_a2i.training.callbacks.SECONDS_BETWEEN_SAVES", 0)
    copy = CopyRun(tmp_path / "whole", tmp_path / "killed", epoch=2)
    whole = train(records, tmp_path / "whole", data_parts=2, epochs=3, callbacks=[copy])
    assert RunFolder(tmp_path / "killed").read_config().data_parts == 2
    with pytest.raises(UsageError, match=r"data_parts of a resumed run must stay 2. Received: data_parts=1"):
        fit(records, tmp_path / "killed", resume=True, data_parts=1)
    assert_same(fit(records, tmp_path / "killed", resume=True, verbose=0), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_parts": 0}, "data_parts must be 1 or more"),
        ({"data_parts": 3, "batch_size": 8}, "batch_size must be a multiple of data_parts.*Received: batch_size=8"),
        ({"data_parts": 64, "batch_size": 64}, "A split must have a shard for every part. Received: 64 parts"),
        ({"devices": "gpu"}, "devices must be 'all' or None. Received: devices='gpu'"),
        ({"step_timeout": 5.0}, "above 0, for a training with devices='all'. Received: step_timeout=5.0, devices=None"),
    ],
)
def test_parts_and_devices_out_of_range_are_refused(records, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        train(records, tmp_path / "run", **options)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX distributes trainings")
def test_other_backends_are_refused_with_what_is_needed(records, tmp_path):
    with pytest.raises(UsageError, match=r"needs Keras' JAX backend.*Received: tensorflow. Install JAX"):
        train(records, tmp_path / "run", devices="all")
    with pytest.raises(UsageError, match="needs Keras' JAX backend"):
        join_processes("127.0.0.1:1", 2, 0)


@pytest.mark.parametrize(
    ("step_timeout", "message"),
    [
        # Accepted: what is refused is something else.
        (600.0, "data_parts must be 1 or more"),
        (0.0, "step_timeout must be a number of seconds above 0.*Received: step_timeout=0.0, devices='all'"),
    ],
)
def test_a_script_may_set_the_timeout_of_steps_on_one_device_too(records, tmp_path, monkeypatch, step_timeout, message):
    monkeypatch.setattr("keras_a2i.training.fit.current_group", ProcessGroup)
    with pytest.raises(UsageError, match=message):
        train(records, tmp_path / "run", devices="all", step_timeout=step_timeout, data_parts=0)


def test_a_group_divides_parts_and_batches(monkeypatch):
    group = ProcessGroup(1, 2)
    assert list(group.parts_of(2)) == [1] and list(group.parts_of(6)) == [3, 4, 5]
    for n_parts in (1, 3):
        with pytest.raises(UsageError, match=f"Received: data_parts={n_parts} with 2 processes"):
            group.parts_of(n_parts)
    monkeypatch.setattr(ProcessGroup, "n_devices", 3)
    group.check_batch_size(9)
    with pytest.raises(UsageError, match=r"number of devices, here 3. Received: batch_size=8. Choose 6, for example"):
        group.check_batch_size(8)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("host:1", None, None), {}, "must be given together.*Received: 'host:1', None, None"),
        (("host", 2, 0), {}, "coordinator must be HOST:PORT, such as 10.0.0.1:1234. Received: 'host'"),
        (("host:1", 2, 2), {}, "Received: process_id=2 with num_processes=2"),
        ((), {"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES must be a number. Received: 'two'"),
        ((), {"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_PROCESS_ID": "0"}, "Received: 'host:1', None, 0"),
    ],
)
def test_processes_without_a_place_are_refused(monkeypatch, arguments, environment, message):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        join_processes(*arguments)


def test_what_cannot_be_divided_is_refused_before_anything_is_written(records, tmp_path):
    objectives = [MeanSquaredError(), TemporalDifference(0.5)]
    with pytest.raises(UsageError, match=r"an even number of pairs of every part.*batch_size=6, data_parts=2"):
        train(records, tmp_path / "run", objectives=objectives, data_parts=2, batch_size=6)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_model_that_cannot_be_copied_for_every_device_is_refused(setup):
    class Unregistered(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=(1, 2, 3))

    opened, _ = setup
    recipe = get_recipe("features", units=(8,), base_channels=4, **{"generator.channels": (4,)})
    model = TrainingModel(recipe.build(opened.features, image_size=16, channels=3), [Unregistered(name="own")])
    config = RunConfig(recipe={}, records="", fingerprint="", epochs=1, batch_size=8, monitor="val_loss", data_parts=1)
    check_parts(model, config, is_shared=False)
    with pytest.raises(UsageError, match=r"must be registered with keras.saving.register_keras_serializable"):
        check_parts(model, config, is_shared=True)


def test_a_reference_image_needs_one_part():
    model = TrainingModel(get_recipe("talking").build(image_size=32), [MeanSquaredError()])
    config = RunConfig(recipe={}, records="", fingerprint="", epochs=1, batch_size=8, monitor="val_loss", data_parts=2)
    with pytest.raises(UsageError, match=r"must be trained with data_parts=1.*Received: data_parts=2"):
        check_parts(model, config, is_shared=False)


@pytest.mark.training
def test_a_group_ends_its_process_although_saving_fails():
    code = """
from keras_a2i.training.process_group import ProcessGroup
group = ProcessGroup(0, 2)
def fail():
    raise OSError("no space left")
group.on_end = fail
group.end("no step ended")
"""
    done = run_python(code, check=False)
    assert done.returncode == 1
    assert "Received: no step ended. The last epoch couldn't be saved (no space left)" in done.stderr
