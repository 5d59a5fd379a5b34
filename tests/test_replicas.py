"""`fit` under a distribution strategy of TensorFlow."""

import pytest
from support.processes import run_python
from support.tone_source import ToneSource, build

from keras_a2i.records.splits import SplitSpec

# Logical devices can only be set before TensorFlow starts: a process of its own.
FIT = """
import json
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_a2i as a2i
from keras_a2i.evaluation import probes, realism_measures

# Nothing here depends on what the probes of the evaluation learn.
probes.train_network = realism_measures.train_network = lambda *_, **__: None
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
settings = {"units": (16, 8), "dropout": 0.0, "feature_noise": 0.0}
recipe = a2i.get_recipe("features", **settings)


def build_model():
    # Without batch normalization, whose statistics are those of a replica.
    image = [keras.Input((8,)), keras.layers.Dense(768, "tanh"), keras.layers.Reshape((16, 16, 3))]
    model, rng = a2i.AudioToImage(recipe.encoder, keras.Sequential(image)), np.random.default_rng(0)
    for variable in model.trainable_variables:
        if "norm" not in variable.path:
            variable.assign(0.2 * rng.standard_normal(variable.shape))
    return model


strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
histories = []
for run, scope in (("one", tf.distribute.get_strategy().scope()), ("two", strategy.scope())):
    with scope:
        options = {"recipe": recipe, "epochs": 2, "batch_size": 4, "verbose": 0}
        a2i.fit(sys.argv[1], f"{sys.argv[2]}/{run}", model=build_model(), **options)
    rows = open(f"{sys.argv[2]}/{run}/history.csv").read().splitlines()
    histories.append([dict(zip(rows[0].split(","), row.split(","), strict=True)) for row in rows[1:]])
with strategy.scope():
    again = a2i.fit(sys.argv[1], f"{sys.argv[2]}/two", resume=True, epochs=3, verbose=0)
    clips = np.zeros((3, again.input_shape[1]), np.float32)
    shapes = [again.encode(clips).shape, again.decode(again.encode(clips)).shape]
    report = a2i.evaluate(again, sys.argv[1])
print("RESULT" + json.dumps({"histories": histories, "shapes": shapes, "pairs": report.n_pairs}))
"""


@pytest.mark.training
def test_fit_under_a_mirrored_strategy_has_the_losses_of_one_device(tmp_path):
    build(tmp_path / "records", ToneSource(n_sources=2, seconds=12), split=SplitSpec(guard=0))
    result = run_python(FIT, tmp_path / "records", tmp_path)
    for one, two in zip(*result["histories"], strict=True):
        for name in one.keys() - {"seconds"}:
            assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-4, abs=1e-5), name
    assert result["shapes"] == [[3, 8], [3, 16, 16, 3]] and result["pairs"] > 0
