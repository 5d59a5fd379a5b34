"""`fit`, `evaluate` and `load` from records to images on every backend, with the values that TensorFlow has."""

import keras
import numpy as np
import pytest
from support.processes import run_python
from support.tone_source import ToneSource, build

import keras_a2i as a2i
from keras_a2i.records.splits import SplitSpec
from keras_a2i.training.run_folder import RunFolder

FIT = """
import json
import sys

import numpy as np

import keras_a2i as a2i
from keras_a2i.evaluation import probes, realism_measures, two_sample

# Nothing here depends on what the probes of the evaluation learn.
probes.train_network = realism_measures.train_network = two_sample.train_network = lambda *_, **__: None
# No noise, and weights that don't come from the backend's random numbers.
settings = {"units": (8, 4), "dropout": 0.0, "feature_noise": 0.0, "base_channels": 4, "generator.channels": (4,)}
recipe = a2i.get_recipe("features", **settings)
records = a2i.Records(sys.argv[1])
mean, std = records.feature_statistics()
model = recipe.build(records.features, image_size=16, channels=3, normalization=(mean, std**2))
rng = np.random.default_rng(0)
for variable in model.trainable_variables:
    if "norm" not in variable.path:
        variable.assign(0.2 * rng.standard_normal(variable.shape))
model = a2i.fit(records, sys.argv[2], recipe=recipe, model=model, epochs=3, batch_size=4, verbose=0)
report = a2i.evaluate(sys.argv[2], records)
scores = report.contenders[0].means
print("RESULT" + json.dumps({"scores": scores, "parameters": model.count_params()}))
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones") / "records"
    build(folder, ToneSource(n_sources=2, seconds=12), split=SplitSpec(guard=0))
    return folder


@pytest.mark.backend
@pytest.mark.training
@pytest.mark.usefixtures("untrained")
def test_fit_and_evaluate_and_load_run(records, tmp_path):
    settings = {"units": (8, 4), "base_channels": 4, "generator.channels": (4,)}
    fitted = a2i.fit(records, tmp_path / "run", recipe="features", settings=settings, epochs=2, batch_size=4, verbose=0)
    again = a2i.fit(records, tmp_path / "run", resume=True, epochs=3, verbose=0)
    assert np.abs(again.get_weights()[-1] - fitted.get_weights()[-1]).max() > 0
    pairs = a2i.Records(records).decoded("val")
    predictor = a2i.load(tmp_path / "run")
    np.testing.assert_allclose(
        predictor.predict_inputs(pairs.inputs), keras.ops.convert_to_numpy(again(pairs.inputs)), atol=1e-5
    )
    report = a2i.evaluate(tmp_path / "run", records)
    assert report.n_pairs == len(pairs.inputs) and np.isfinite(list(report.contenders[0].means.values())).all()


@pytest.mark.backend
@pytest.mark.training
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="compares another backend with TensorFlow")
def test_fit_has_the_losses_of_tensorflow(records, tmp_path):
    backends = ("tensorflow", keras.backend.backend())
    expected, found = (_fit_with(name, records, tmp_path / name) for name in backends)
    assert len(expected["history"]) == 3 and {"loss", "val_loss", "val_ssim"} < set(expected["history"][0])
    for values, others in zip(expected["history"], found["history"], strict=True):
        assert values.keys() == others.keys()
        for name in values.keys() - {"seconds"}:
            assert others[name] == pytest.approx(values[name], rel=1e-4, abs=1e-5), name
    assert expected["history"][2]["loss"] < expected["history"][0]["loss"]
    assert found["scores"] == pytest.approx(expected["scores"], rel=1e-3, abs=1e-4)


def _fit_with(backend, records, run):
    result = run_python(FIT, records, run, backend=backend)
    return result | {"history": RunFolder(run).read_history()}
