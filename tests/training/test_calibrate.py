"""`calibrate` on a model in memory, on a file, and at the end of `fit`."""

import keras
import numpy as np
import pytest
import soundfile
from support.tone_source import ToneSource, build

import keras_a2i as a2i
from keras_a2i.errors import RecordsError, UsageError
from keras_a2i.models import DenseEncoder, TransposedGenerator
from keras_a2i.models.classifier import classify
from keras_a2i.models.label_calibration import choose_threshold, evidence_of, fit_temperature
from keras_a2i.models.model_file import read_metadata, save_model
from keras_a2i.records.splits import SplitSpec
from keras_a2i.training.calibrate import can_calibrate


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones") / "rec"
    build(folder, ToneSource(n_sources=2, seconds=80), split=SplitSpec(kind="block", guard=1.0))
    return a2i.Records(folder)


def make_model(records, label_sharpness=4.0):
    keras.utils.set_random_seed(0)
    return a2i.AudioToImage(
        DenseEncoder(units=(8,), input="waveform"),
        TransposedGenerator(channels=(4,), base_channels=4, label_sharpness=label_sharpness),
        image_size=16,
        labels=records.labels,
    )


def test_calibration_is_that_of_the_held_out_pairs_and_the_folder(records, tmp_path):
    model = make_model(records)
    noise = 0.001 * np.random.default_rng(0).standard_normal(5 * 16_000)
    (tmp_path / "other").mkdir()
    soundfile.write(tmp_path / "other" / "noise.wav", noise, 16_000)
    found = a2i.calibrate(model, records, foreign=tmp_path / "other")
    assert model.calibration == found
    pairs = records.sample_pairs("val", 1000, "waveform")
    assert len(pairs) >= 20
    logits = classify(model, pairs.inputs)
    assert found.temperature == pytest.approx(fit_temperature(logits, pairs.label_numbers, pairs.sources))
    foreign, _ = soundfile.read(tmp_path / "other" / "noise.wav", dtype="float32")
    expected = choose_threshold(evidence_of(logits), evidence_of(classify(model, foreign.reshape(5, -1))))
    assert found.threshold == (None if expected is None else pytest.approx(expected, rel=1e-5))
    # A file receives the same values.
    save_model(model, tmp_path / "model.keras", model.metadata.with_calibration(None))
    assert a2i.calibrate(tmp_path, records, foreign=tmp_path / "other") == found
    assert read_metadata(tmp_path / "model.keras").calibration == found
    assert a2i.AudioToImage.from_preset(tmp_path).calibration == found


def test_calibrate_names_what_is_missing(records, tmp_path):
    with pytest.raises(UsageError, match="model must classify labels to be calibrated"):
        a2i.calibrate(make_model(records, label_sharpness=0.0), records)
    build(tmp_path / "few", ToneSource(n_sources=2, seconds=12), split=SplitSpec(kind="block", guard=0.0))
    few = a2i.Records(tmp_path / "few")
    assert not can_calibrate(make_model(records), few) and can_calibrate(make_model(records), records)
    with pytest.raises(RecordsError, match=r"needs 20 held-out pairs or more.*Received: 6 in 'val'"):
        a2i.calibrate(make_model(records), few)


@pytest.mark.training
def test_fit_calibrates_a_model_that_classifies(records, tmp_path):
    objectives = [a2i.objectives.LabelCrossentropy(weight=1.0), a2i.objectives.MeanSquaredError()]
    model = a2i.fit(records, tmp_path / "run", model=make_model(records), objectives=objectives, epochs=1, verbose=0)
    assert model.calibration is not None and model.calibration.temperature > 0
    loaded = a2i.load(tmp_path / "run")
    assert loaded.metadata.calibration == loaded.model.calibration == model.calibration
    # Averaged and saved weights are what was calibrated.
    assert a2i.calibrate(tmp_path / "run", records).temperature == pytest.approx(
        model.calibration.temperature, rel=1e-4
    )
