"""`fit`, `evaluate` and `load` from records to images on every backend, with the values that TensorFlow has."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.tone_source import ToneSource, build

import keras_a2i as a2i
from keras_a2i.records.splits import SplitSpec

FIT = """
import json
import sys

import numpy as np

import keras_a2i as a2i
from keras_a2i.evaluation import probes, realism_measures

# Nothing here depends on what the probes of the evaluation learn.
probes.train_network = realism_measures.train_network = lambda *_, **__: None
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
def test_fit_and_evaluate_and_load_run(records, tmp_path, monkeypatch):
    for module in ("probes", "realism_measures"):
        monkeypatch.setattr(f"keras_a2i.evaluation.{module}.train_network", lambda *_, **__: None)
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


@pytest.mark.training
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_fit_has_the_losses_of_tensorflow(records, tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} isn't installed")
    expected, found = (_fit_with(name, records, tmp_path / name) for name in ("tensorflow", backend))
    assert len(expected["history"]) == 3 and {"loss", "val_loss", "val_ssim"} < set(expected["history"][0])
    for values, others in zip(expected["history"], found["history"], strict=True):
        assert values.keys() == others.keys()
        for name in values.keys() - {"seconds"}:
            assert others[name] == pytest.approx(values[name], rel=1e-4, abs=1e-5), name
    assert expected["history"][2]["loss"] < expected["history"][0]["loss"]
    assert found["scores"] == pytest.approx(expected["scores"], rel=1e-3, abs=1e-4)


def _fit_with(backend, records, run):
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", FIT, str(records), str(run)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    history = (run / "history.csv").read_text().splitlines()
    rows = [dict(zip(history[0].split(","), map(float, line.split(",")), strict=True)) for line in history[1:]]
    return {"history": rows} | json.loads(done.stdout.split("RESULT")[1])
