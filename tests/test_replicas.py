"""The loss, `TrainingModel`, `fit` and `evaluate` under a distribution strategy of TensorFlow."""

import numpy as np
import pytest
from support.processes import run_python
from support.tone_source import ToneSource, build

from keras_a2i.records.splits import SplitSpec

pytestmark = pytest.mark.training

# Logical devices can only be set before TensorFlow starts: a process of its own, one for all of this.
CODE = """
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from support.training_states import random_images

import keras_a2i as a2i
from keras_a2i.evaluation import probes, realism_measures, two_sample_measures
from keras_a2i.losses import BatchScaledMSE
from keras_a2i.objectives import MeanSquaredError, MultiScaleSSIM, TrainingModel

# Nothing here depends on what the probes of the evaluation learn.
probes.train_network = realism_measures.train_network = lambda *_, **__: None
two_sample_measures.two_sample_error = lambda *_, **__: 0.5
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategies = {"one": tf.distribute.get_strategy(), "two": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])}
records, runs = sys.argv[1:]
kernel = keras.initializers.GlorotUniform(1)


def batches(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(8)


def train_on_loss(strategy):
    rng = np.random.default_rng(0)
    pairs = batches(rng.standard_normal((20, 4)).astype("float32"), rng.standard_normal((20, 2)).astype("float32"))
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer=kernel)])
        model.compile(keras.optimizers.SGD(0.01), loss=BatchScaledMSE(8))
    losses = model.fit(pairs, epochs=3, verbose=0).history["loss"]
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
    return {"losses": losses, "weights": weights.tolist(), "replicas": strategy.num_replicas_in_sync}


def train_on_objectives(strategy):
    features = np.random.default_rng(0).standard_normal((16, 6)).astype("float32")
    with strategy.scope():
        # Without batch normalization, whose statistics are those of a replica.
        encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh", kernel_initializer=kernel)])
        pixels = [keras.layers.Dense(256, kernel_initializer=kernel), keras.layers.Reshape((16, 16, 1))]
        model = a2i.AudioToImage(encoder, keras.Sequential([keras.Input((8,)), *pixels]))
        objectives = [MeanSquaredError(batch_size=8), MultiScaleSSIM(), keras.losses.Huber()]
        training = TrainingModel(model, objectives, total_steps=6, freeze_encoder_after=0.5)
        training.compile(keras.optimizers.SGD(0.01))
    losses = training.fit(batches(features, random_images(16, 16, 1)), epochs=3, verbose=0).history["loss"]
    return {"losses": losses, "steps": training.trained_steps}


def build_model():
    image = [keras.Input((8,)), keras.layers.Dense(768, "tanh"), keras.layers.Reshape((16, 16, 3))]
    model, rng = a2i.AudioToImage(recipe.encoder, keras.Sequential(image)), np.random.default_rng(0)
    for variable in model.trainable_variables:
        if "norm" not in variable.path:
            variable.assign(0.2 * rng.standard_normal(variable.shape))
    return model


recipe = a2i.get_recipe("features", units=(8,), dropout=0.0, feature_noise=0.0)
found = {"loss": {}, "objectives": {}, "histories": {}}
for name, strategy in strategies.items():
    found["loss"][name] = train_on_loss(strategy)
    found["objectives"][name] = train_on_objectives(strategy)
    with strategy.scope():
        options = {"recipe": recipe, "epochs": 2, "batch_size": 4, "verbose": 0}
        a2i.fit(records, f"{runs}/{name}", model=build_model(), **options)
    rows = open(f"{runs}/{name}/history.csv").read().splitlines()
    found["histories"][name] = [dict(zip(rows[0].split(","), row.split(","), strict=True)) for row in rows[1:]]
with strategies["two"].scope():
    again = a2i.fit(records, f"{runs}/two", resume=True, epochs=3, verbose=0)
    clips = np.zeros((3, again.input_shape[1]), np.float32)
    found["shapes"] = [again.encode(clips).shape, again.decode(again.encode(clips)).shape]
    found["pairs"] = a2i.evaluate(again, records).n_pairs
print("RESULT" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process with two logical devices finds on one and on both of them."""
    folder = tmp_path_factory.mktemp("replicas")
    build(folder / "records", ToneSource(n_sources=2, seconds=12), split=SplitSpec(guard=0))
    return run_python(CODE, folder / "records", folder)


def test_batch_scaled_mse_on_two_replicas_equals_one(found):
    one, two = found["loss"].values()
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert one["losses"][0] > 1.05 * one["losses"][-1]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    np.testing.assert_allclose(two["weights"], one["weights"], atol=1e-5)


def test_training_model_on_two_replicas_equals_one(found):
    one, two = found["objectives"].values()
    assert one["steps"] == two["steps"] == 6
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4) and one["losses"][2] < one["losses"][0]


def test_fit_under_a_mirrored_strategy_has_the_losses_of_one_device(found):
    for one, two in zip(*found["histories"].values(), strict=True):
        for name in one.keys() - {"seconds"}:
            assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-4, abs=1e-5), name


def test_run_of_a_mirrored_strategy_is_resumed_and_evaluated_under_it(found):
    assert found["shapes"] == [[3, 8], [3, 16, 16, 3]] and found["pairs"] > 0
